//! The method of a run: one stage or several, found in the libraries that were given.

use super::{Plan, PruneError, Result, Settings, Targets};
use espalier_base::text::did_you_mean;
use espalier_plugins::{Library, PluginError, PluginMethod, PluginRecord, offering};
use espalier_sdk::{MethodInfo, OptionSpec, Order, Scope, Statistic};
use serde_json::Value;
use std::collections::BTreeMap;

/// A method that was found and made, with what the manifest says of it. `owl,wanda,dsnot` is one of three stages.
#[derive(Debug)]
pub struct Method {
    pub(super) stages: Vec<Stage>,
    record: PluginRecord,
}

/// A stage of a run.
#[derive(Debug)]
pub struct Stage {
    pub(super) loaded: PluginMethod,
    pub(super) info: MethodInfo,
    pub(super) order: Order,
    pub(super) record: PluginRecord,
}

impl Stage {
    /// Makes a method of a library; `options` are as typed, `KEY` to `VALUE`.
    fn new(library: &Library, name: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        let (loaded, info, options) = library.method(name, options)?;
        let order =
            loaded.order().map_err(|source| PruneError::Order { method: info.name.clone(), source })?;
        let record = PluginRecord::new(info.name.clone(), options, library);
        Ok(Self { loaded, info, order, record })
    }

    /// The method's description.
    pub fn info(&self) -> &MethodInfo {
        &self.info
    }

    /// Whether it needs calibration data.
    fn measures(&self) -> bool {
        self.info.scope != Scope::Layer || !self.info.statistics.is_empty()
    }
}

impl Method {
    /// The method of this name, or the only one there is; several names with commas between are so many stages. `options`
    /// are as typed, `KEY` to `VALUE`; where several stages have an option, it is `STAGE.KEY`.
    ///
    /// # Errors
    /// None of the libraries has it, there are several and no name, an option is refused, or the stages' order cannot be.
    pub fn find(
        libraries: &[Library],
        name: Option<&str>,
        options: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let offered: Vec<_> = libraries
            .iter()
            .flat_map(|library| library.info().methods.iter().map(move |info| (library, info.name.as_str())))
            .collect();
        let names: Vec<_> = offered.iter().map(|(_, name)| *name).collect();
        let not_offered = |message: String| Err(PruneError::from(PluginError::NotOffered(message)));
        let chosen: Vec<(&Library, &str)> = match (name, offered.as_slice()) {
            (_, []) => return not_offered("none of the libraries offers a pruning method".to_owned()),
            (None, [only]) => vec![*only],
            (None, _) => {
                let names = names.join(", ");
                return not_offered(format!("there are several methods ({names}): choose one with --method"));
            }
            (Some(wanted), offered) => {
                let stage = |wanted| match offering(offered, "method", wanted)? {
                    Some(library) => Ok((library, wanted)),
                    None => {
                        let names = names.join(", ");
                        let hint = did_you_mean(wanted, offered.iter().map(|(_, name)| *name));
                        Err(PruneError::from(PluginError::NotOffered(format!(
                            "no library offers a method named `{wanted}`; there are {names}{hint}"
                        ))))
                    }
                };
                wanted.split(',').map(str::trim).map(stage).collect::<Result<_>>()?
            }
        };
        let specs = |(library, name): &(&Library, &str)| {
            let info = library.info().methods.iter().find(|info| info.name == *name);
            info.map_or_else(Vec::new, |info| info.options.clone())
        };
        let specs: Vec<_> = chosen.iter().map(specs).collect();
        let names: Vec<_> = chosen.iter().map(|(_, name)| *name).collect();
        let options = by_stage(&names, &specs, options)?;
        let stages = chosen.iter().zip(&options);
        let stages = stages.map(|((library, name), options)| Stage::new(library, name, options));
        let stages = stages.collect::<Result<Vec<_>>>()?;
        let later = stages.iter().skip_while(|stage| stage.info.scope == Scope::Model);
        if let Some(late) = later.into_iter().find(|stage| stage.info.scope == Scope::Model) {
            return not_offered(format!(
                "`{}` decides for the whole model, before layers are pruned: name it before the others",
                late.info.name
            ));
        }
        Ok(Self { record: record(&stages), stages })
    }

    /// The plan of a run with these settings.
    pub fn plan<'a>(&'a self, settings: &'a Settings) -> Plan<'a> {
        Plan {
            stages: self.pruning(),
            targets: &settings.targets,
            propagate: settings.propagate,
            seed: settings.seed,
        }
    }

    /// Refuses targets that a stage cannot prune to.
    ///
    /// # Errors
    /// A pattern for a stage that has none.
    pub fn check(&self, targets: &Targets) -> Result<()> {
        let Some(stage) = self.stages.iter().find(|stage| !stage.info.patterns) else { return Ok(()) };
        match targets.pattern() {
            Some(sparsity) => Err(PruneError::Unpatterned { method: stage.info.name.clone(), sparsity }),
            None => Ok(()),
        }
    }

    /// The stages that decide for the whole model, which come first.
    pub(super) fn deciding(&self) -> &[Stage] {
        &self.stages[..self.stages.len() - self.pruning().len()]
    }

    /// The stages that prune, block by block.
    pub(super) fn pruning(&self) -> &[Stage] {
        let first = self.stages.iter().position(|stage| stage.info.scope != Scope::Model);
        &self.stages[first.unwrap_or(self.stages.len())..]
    }

    /// Every stage, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The only stage of a method of one.
    pub(super) fn first(&self) -> &Stage {
        &self.stages[0]
    }

    /// Its name: those of its stages, with commas between.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Its name, options, library and version; of several stages, all of them.
    pub fn record(&self) -> &PluginRecord {
        &self.record
    }

    /// The record of each stage where there are several.
    pub(super) fn records(&self) -> Vec<PluginRecord> {
        match self.stages.as_slice() {
            [_] => Vec::new(),
            stages => stages.iter().map(|stage| stage.record.clone()).collect(),
        }
    }

    /// The statistics that its stages need.
    pub fn statistics(&self) -> Vec<Statistic> {
        needed(&self.stages)
    }

    /// Whether it measures the model, so that it needs calibration data.
    pub fn measures(&self) -> bool {
        self.stages.iter().any(Stage::measures)
    }

    /// Whether it can be part of runs that share one dense pass: it changes nothing but single layers.
    pub fn can_share(&self) -> bool {
        self.stages.iter().all(|stage| stage.info.scope == Scope::Layer)
    }
}

/// Every statistic that one of these stages needs.
pub(super) fn needed<'a>(stages: impl IntoIterator<Item = &'a Stage>) -> Vec<Statistic> {
    let mut needed = Vec::new();
    for statistic in stages.into_iter().flat_map(|stage| &stage.info.statistics) {
        if !needed.contains(statistic) {
            needed.push(*statistic);
        }
    }
    needed
}

/// The options of each stage.
fn by_stage(
    names: &[&str],
    specs: &[Vec<OptionSpec>],
    given: &BTreeMap<String, String>,
) -> Result<Vec<BTreeMap<String, String>>> {
    let mut options = vec![BTreeMap::new(); names.len()];
    for (key, value) in given {
        let (stage, option) = match key.split_once('.') {
            Some((stage, option)) => (names.iter().position(|name| *name == stage), option),
            None => (None, key.as_str()),
        };
        let knows = |stage: &usize| specs[*stage].iter().any(|spec| spec.name == option);
        let knowing: Vec<usize> = (0..names.len()).filter(knows).collect();
        let stage = match (stage, knowing.as_slice()) {
            (Some(stage), _) => stage,
            (None, [stage]) => *stage,
            // The first refuses it, with the names that it knows.
            (None, []) => 0,
            (None, [..]) => {
                let stages: Vec<_> = knowing.iter().map(|&stage| names[stage]).collect();
                let message = format!(
                    "several stages have an option `{option}` ({}): write {}.{option}",
                    stages.join(", "),
                    stages[0]
                );
                return Err(PluginError::NotOffered(message).into());
            }
        };
        let known = knows(&stage) || !key.contains('.');
        options[stage].insert(if known { option } else { key }.to_owned(), value.clone());
    }
    Ok(options)
}

/// One record of all stages.
fn record(stages: &[Stage]) -> PluginRecord {
    if let [stage] = stages {
        return stage.record.clone();
    }
    let all = |part: fn(&PluginRecord) -> &str, between: &str| {
        stages.iter().map(|stage| part(&stage.record)).collect::<Vec<_>>().join(between)
    };
    let options = stages.iter().flat_map(|stage| {
        let value = serde_json::to_value(&stage.record.options).unwrap_or_default();
        let values = if let Value::Object(values) = value { values } else { serde_json::Map::new() };
        values.into_iter().map(|(key, value)| (format!("{}.{key}", stage.record.name), value))
    });
    PluginRecord {
        name: all(|record| &record.name, ","),
        options: serde_json::from_value(Value::Object(options.collect())).unwrap_or_default(),
        library: stages.last().map(|stage| stage.record.library.clone()).unwrap_or_default(),
        version: all(|record| &record.version, ", "),
        sha256: all(|record| &record.sha256, ","),
    }
}
