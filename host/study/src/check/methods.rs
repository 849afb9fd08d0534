//! Methods and other plugins of a study file.

use super::{Checked, StudyModel};
use crate::{
    StudyFile,
    file::{At, MethodSpec, Problem},
};
use espalier_base::text::did_you_mean;
use espalier_plugins::{Library, find, load};
use espalier_prune::{LayerRule, MemoryBudget, Method, ParseLayerRuleError, PruneError, Settings, Targets};
use espalier_sdk::{MethodInfo, OptionSpec, Sparsity};
use std::collections::BTreeMap;

/// A pruning method of a study, with its settings.
#[derive(Debug)]
pub struct StudyMethod {
    /// Its name.
    pub name: String,
    /// The method.
    pub method: Method,
    /// How much it prunes, one cell each.
    pub sparsities: Vec<Sparsity>,
    /// Whether statistics are taken behind predecessors that are already pruned.
    pub propagate: bool,
    targets: Targets,
}

impl StudyMethod {
    /// How a model is pruned to a sparsity, with draws of this seed.
    pub fn settings(&self, model: &StudyModel, sparsity: Sparsity, seed: u64) -> Settings {
        Settings {
            model: model.named.clone(),
            targets: self.targets(sparsity),
            propagate: self.propagate,
            seed,
            memory: MemoryBudget::default(),
        }
    }

    /// Which layers are pruned, and how much of each.
    pub fn targets(&self, sparsity: Sparsity) -> Targets {
        Targets { sparsity, ..self.targets.clone() }
    }
}

/// The method that an entry of the file asks for.
pub(super) fn method(file: &StudyFile, spec: &MethodSpec) -> Checked<StudyMethod> {
    let libraries: Vec<_> =
        spec.plugins.iter().map(|plugin| library(file, plugin)).collect::<Checked<_>>()?;
    let methods: Vec<_> = libraries.iter().flat_map(|library| &library.info().methods).collect();
    let names: Vec<_> = methods.iter().map(|info| info.name.as_str()).collect();
    let offers = match names.as_slice() {
        [] => "no pruning method".to_owned(),
        names => names.join(", "),
    };
    let plugins = spec.plugins.iter().map(|plugin| plugin.value.as_str()).collect::<Vec<_>>().join(", ");
    let stages: Vec<&MethodInfo> = match (&spec.method, methods.as_slice()) {
        (None, [only]) => vec![only],
        (None, _) => {
            let message = format!("{plugins} offers {offers}: choose one with `method`");
            return Err(Problem::new(&spec.plugins[0].span, message));
        }
        (Some(wanted), methods) => {
            let stage = |name: &str| {
                methods.iter().find(|info| info.name == name).copied().ok_or_else(|| {
                    let hint = did_you_mean(name, names.iter().copied());
                    let message = format!("{plugins} offers no method `{name}`, but {offers}{hint}");
                    Problem::new(&wanted.span, message)
                })
            };
            wanted.value.split(',').map(|name| stage(name.trim())).collect::<Checked<_>>()?
        }
    };
    let name = stages.iter().map(|info| info.name.as_str()).collect::<Vec<_>>().join(",");
    let options = options(&format!("the method {name}"), &declared(&stages), &spec.options)?;
    let refused = |error| Problem::because(&spec.name.span, "the method is not usable", error);
    let method = Method::find(&libraries, Some(&name), &options).map_err(refused)?;
    let mut targets = Targets::everywhere(Sparsity::Ratio(0.5));
    targets.layers = spec.layers.as_ref().map(|layers| layers.value.clone());
    targets.skip = spec.skip.iter().map(|projection| projection.value).collect();
    for (layer, sparsity) in &spec.layer_sparsity {
        let rule: LayerRule = layer
            .value
            .parse()
            .map_err(|error: ParseLayerRuleError| Problem::new(&layer.span, error.to_string()))?;
        targets.per_layer.insert(rule, sparsity.value);
    }
    Ok(StudyMethod {
        name: spec.name.value.clone(),
        method,
        sparsities: spec.sparsity.iter().map(|sparsity| sparsity.value).collect(),
        propagate: spec.propagate,
        targets,
    })
}

/// The options of these stages; of several, also as `STAGE.KEY`.
fn declared(stages: &[&MethodInfo]) -> Vec<OptionSpec> {
    let prefixed = stages.iter().filter(|_| stages.len() > 1).flat_map(|info| {
        let prefixed =
            |spec: &OptionSpec| OptionSpec { name: format!("{}.{}", info.name, spec.name), ..spec.clone() };
        info.options.iter().map(prefixed)
    });
    stages.iter().flat_map(|info| info.options.iter().cloned()).chain(prefixed).collect()
}

/// A plugin library: beside the study file, or where plugins are looked for.
pub(super) fn library(file: &StudyFile, named: &At<String>) -> Checked<Library> {
    let refused =
        |error| Problem::because(&named.span, format!("the plugin {} is not usable", named.value), error);
    let beside = file.resolve(&named.value);
    let path = if beside.is_file() { Ok(beside) } else { find(&named.value) };
    path.and_then(|path| load(&path)).map_err(refused)
}

/// The options of a method or selector as they are typed, each known and of its kind.
pub(super) fn options(
    whose: &str,
    specs: &[OptionSpec],
    given: &[(At<String>, At<String>)],
) -> Checked<BTreeMap<String, String>> {
    for (key, value) in given {
        let Some(spec) = specs.iter().find(|spec| spec.name == key.value) else {
            let known: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            let known = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            };
            let hint = did_you_mean(&key.value, specs.iter().map(|spec| spec.name.as_str()));
            return Err(Problem::new(
                &key.span,
                format!("{whose} has no option `{}`; {known}{hint}", key.value),
            ));
        };
        if let Err(error) = spec.parse(&value.value) {
            return Err(Problem::because(
                &value.span,
                format!("this is not a value of `{}`", key.value),
                error,
            ));
        }
    }
    Ok(typed(given))
}

/// Options as they are typed.
pub(super) fn typed(given: &[(At<String>, At<String>)]) -> BTreeMap<String, String> {
    given.iter().map(|(key, value)| (key.value.clone(), value.value.clone())).collect()
}

/// Checks a method's targets against a model.
pub(super) fn fits(method: &StudyMethod, spec: &MethodSpec, model: &StudyModel) -> Checked<()> {
    for sparsity in &spec.sparsity {
        espalier_prune::check(&model.config, &method.targets(sparsity.value)).map_err(|error| {
            let message = format!("{} cannot prune {} so", method.name, model.name);
            let span = match error {
                PruneError::Targets(_) => spec.layers.as_ref().map_or(&spec.name.span, |layers| &layers.span),
                _ => &sparsity.span,
            };
            Problem::because(span, message, error)
        })?;
    }
    Ok(())
}
