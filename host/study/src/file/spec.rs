//! A study file as it is written: every value with its place, nothing looked up yet.

use super::{
    calibration::{CalibrationSpec, calibrations},
    reader::{
        At, Problem, Result, Section, count, entries, flag, integer, many, parsed, path, scalar, sparsity,
        text, unlike,
    },
};
use espalier_evaluate::Metric;
use espalier_model::layout::Projection;
use espalier_prune::BlockRanges;
use espalier_sdk::Sparsity;
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A study file.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) title: Option<String>,
    pub(crate) keep_models: KeepModels,
    pub(crate) seeds: Vec<At<u64>>,
    pub(crate) models: Vec<ModelSpec>,
    pub(crate) methods: Vec<MethodSpec>,
    pub(crate) calibrations: Vec<CalibrationSpec>,
    pub(crate) evaluations: Vec<EvaluationSpec>,
}

/// What becomes of pruned models when they are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepModels {
    /// They are removed.
    #[default]
    No,
    /// They are kept as folders.
    Folders,
    /// They are kept as archives.
    Packed,
}

fn keep_models(value: &Spanned<DeValue>) -> Result<KeepModels> {
    match (value.get_ref().as_bool(), value.get_ref().as_str()) {
        (Some(true), _) => Ok(KeepModels::Folders),
        (Some(false), _) => Ok(KeepModels::No),
        (None, Some("packed")) => Ok(KeepModels::Packed),
        _ => Err(unlike(value, "`true`, `false` or \"packed\"")),
    }
}

/// A model.
#[derive(Debug, Clone)]
pub(crate) struct ModelSpec {
    pub(crate) name: At<String>,
    pub(crate) path: At<String>,
}

/// A method with its settings.
#[derive(Debug, Clone)]
pub(crate) struct MethodSpec {
    pub(crate) name: At<String>,
    /// The libraries; the name of the entry, in lower case, by default.
    pub(crate) plugins: Vec<At<String>>,
    /// The method, or the stages with commas between.
    pub(crate) method: Option<At<String>>,
    pub(crate) options: Vec<(At<String>, At<String>)>,
    pub(crate) sparsity: Vec<At<Sparsity>>,
    pub(crate) layers: Option<At<BlockRanges>>,
    pub(crate) skip: Vec<At<Projection>>,
    pub(crate) layer_sparsity: Vec<(At<String>, At<Sparsity>)>,
    pub(crate) propagate: bool,
}

/// Something to evaluate on.
#[derive(Debug, Clone)]
pub(crate) struct EvaluationSpec {
    pub(crate) name: At<String>,
    pub(crate) data: EvaluationData,
    /// The ability that it is a measure of.
    pub(crate) group: Option<At<String>>,
    pub(crate) reading: ReadingSpec,
    pub(crate) metrics: Vec<At<Metric>>,
    pub(crate) limit: Option<At<usize>>,
    pub(crate) max_new_tokens: Option<At<usize>>,
    pub(crate) stop: Vec<At<String>>,
    pub(crate) seqlen: Option<At<usize>>,
    /// The study's `seqlen`, which counts for windows of running text.
    pub(crate) window: Option<At<usize>>,
}

/// What is evaluated on.
#[derive(Debug, Clone)]
pub(crate) enum EvaluationData {
    /// Rows with answers, or running text.
    Rows(At<String>),
    /// The data of a defined task.
    Task { task: At<String>, data: At<String>, shots: Option<At<u64>>, chat: ChatSpec },
}

/// Whether a task is put into the model's chat template.
#[derive(Debug, Clone)]
pub(crate) struct ChatSpec {
    pub(crate) chat_template: Option<At<bool>>,
    pub(crate) multiturn: Option<At<bool>>,
}

impl ChatSpec {
    /// Whether the template is asked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.chat_template.as_ref().is_some_and(|wanted| wanted.value)
    }
}

/// How rows become text.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadingSpec {
    pub(crate) prompt: Option<At<String>>,
    pub(crate) fields: Option<At<String>>,
    pub(crate) strict: bool,
}

/// The defaults of entries.
#[derive(Default)]
pub(super) struct Defaults {
    sparsity: Vec<At<Sparsity>>,
    pub(super) samples: Vec<At<usize>>,
    pub(super) seqlen: Vec<At<usize>>,
}

impl Defaults {
    /// The `seqlen` of windows that are evaluated on: the greatest that is calibrated with.
    fn window(&self) -> Option<At<usize>> {
        self.seqlen.iter().max_by_key(|seqlen| seqlen.value).cloned()
    }
}

impl Spec {
    /// Reads a whole file.
    pub(crate) fn parse(source: &str) -> Result<Self> {
        let table = DeTable::parse(source)
            .map_err(|error| Problem::new(&error.span().unwrap_or(0..0), error.message()))?;
        let mut file = Section::new("", 0..0, table.get_ref());
        let defaults = Defaults {
            sparsity: file.list("sparsity", sparsity)?,
            samples: file.list("samples", count)?,
            seqlen: file.list("seqlen", count)?,
        };
        let spec = Self {
            title: file.get("title", text)?.map(|title| title.value),
            keep_models: file.get("keep_models", keep_models)?.unwrap_or_default(),
            seeds: file.list("seeds", integer)?,
            models: file.need("models", models)?,
            methods: named(&mut file, "methods", |name, value| method(name, value, &defaults))?,
            calibrations: named(&mut file, "calibration", |name, value| {
                calibrations(name, value, &defaults)
            })?
            .concat(),
            evaluations: named(&mut file, "evaluations", |name, value| evaluation(name, value, &defaults))?,
        };
        let end = file.span().clone();
        file.finish()?;
        spec.complete(&end)
    }

    /// Refuses groups of a single evaluation: what they keep is that evaluation's own.
    fn check_groups(&self) -> Result<()> {
        let groups: Vec<_> =
            self.evaluations.iter().filter_map(|evaluation| evaluation.group.as_ref()).collect();
        match groups.iter().find(|one| groups.iter().filter(|other| other.value == one.value).count() == 1) {
            None => Ok(()),
            Some(one) => {
                let message =
                    format!("the group {} has one member; a group is of two or more evaluations", one.value);
                Err(Problem::new(&one.span, message))
            }
        }
    }

    /// Refuses what is twice or not at all.
    fn complete(self, place: &Range<usize>) -> Result<Self> {
        self.check_groups()?;
        if self.models.is_empty() {
            return Err(Problem::new(place, "the study has no model"));
        }
        if self.evaluations.is_empty() {
            return Err(Problem::new(place, "the study evaluates nothing: add an entry to [evaluations]"));
        }
        distinct(&self.seeds, "seed")?;
        let names: Vec<_> = self.models.iter().map(|model| model.name.clone()).collect();
        distinct(&names, "model name")?;
        let names: Vec<_> = self.calibrations.iter().map(|set| set.name.clone()).collect();
        distinct(&names, "calibration set")?;
        for method in &self.methods {
            distinct(&method.sparsity, "sparsity")?;
        }
        for evaluation in &self.evaluations {
            distinct(&evaluation.metrics, "metric")?;
        }
        Ok(self)
    }
}

/// Refuses what stands there twice.
pub(super) fn distinct<T: PartialEq + ToString>(values: &[At<T>], what: &str) -> Result<()> {
    for (place, value) in values.iter().enumerate() {
        if values[..place].iter().any(|other| other.value == value.value) {
            return Err(Problem::new(
                &value.span,
                format!("the {what} {} is given twice", value.value.to_string()),
            ));
        }
    }
    Ok(())
}

/// The entries of a table that may be absent.
fn named<T>(
    file: &mut Section,
    key: &'static str,
    read: impl FnMut(&At<String>, &Spanned<DeValue>) -> Result<T>,
) -> Result<Vec<T>> {
    file.value(key).map_or(Ok(Vec::new()), |value| entries(value, read))
}

/// One path, several, or a table from names to paths. A path's own name is the last part of it.
fn models(value: &Spanned<DeValue>) -> Result<Vec<ModelSpec>> {
    if value.get_ref().is_table() {
        return entries(value, |name, value| Ok(ModelSpec { name: name.clone(), path: path(value)? }));
    }
    let paths = many(value, path)?;
    let named = paths.into_iter().map(|path| {
        let name = path.value.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(&path.value);
        ModelSpec { name: path.with(name.to_owned()), path }
    });
    Ok(named.collect())
}

/// A table; a sparsity, or several, is short for one that gives nothing else.
fn method(name: &At<String>, value: &Spanned<DeValue>, defaults: &Defaults) -> Result<MethodSpec> {
    let mut method = MethodSpec {
        name: name.clone(),
        plugins: vec![name.with(name.value.to_lowercase())],
        method: None,
        options: Vec::new(),
        sparsity: Vec::new(),
        layers: None,
        skip: Vec::new(),
        layer_sparsity: Vec::new(),
        propagate: true,
    };
    if let Some(table) = value.get_ref().as_table() {
        let mut section = Section::new(format!("methods.{}", name.value), name.span.clone(), table);
        let plugins = section.list("plugin", text)?;
        if !plugins.is_empty() {
            method.plugins = plugins;
        }
        method.method = section.get("method", text)?;
        method.options = options(&mut section)?;
        method.sparsity = section.list("sparsity", sparsity)?;
        method.layers = section.get("layers", parsed)?;
        method.skip = section.list("skip", parsed)?;
        if let Some(rules) = section.value("layer_sparsity") {
            method.layer_sparsity = entries(rules, |layer, value| Ok((layer.clone(), sparsity(value)?)))?;
        }
        method.propagate = section.get("propagate", flag)?.unwrap_or(true);
        section.finish()?;
    } else {
        method.sparsity = many(value, sparsity)?;
    }
    if method.sparsity.is_empty() {
        method.sparsity.clone_from(&defaults.sparsity);
    }
    if method.sparsity.is_empty() {
        method.sparsity = vec![name.with(Sparsity::Ratio(0.5))];
    }
    Ok(method)
}

/// A table; a path is short for one that gives nothing else.
fn evaluation(name: &At<String>, value: &Spanned<DeValue>, defaults: &Defaults) -> Result<EvaluationSpec> {
    let Some(table) = value.get_ref().as_table() else {
        let file = path(value).map_err(|_| unlike(value, "a path or a table"))?;
        let reading = ReadingSpec::default();
        return Ok(EvaluationSpec {
            name: name.clone(),
            data: EvaluationData::Rows(file),
            group: None,
            reading,
            metrics: Vec::new(),
            limit: None,
            max_new_tokens: None,
            stop: Vec::new(),
            seqlen: None,
            window: defaults.window(),
        });
    };
    let mut section = Section::new(format!("evaluations.{}", name.value), name.span.clone(), table);
    let evaluation = EvaluationSpec {
        name: name.clone(),
        data: evaluation_data(&mut section)?,
        group: section.get("group", text)?,
        reading: {
            let prompt = section.get("prompt", text)?;
            reading(&mut section, prompt)?
        },
        metrics: section.list("metrics", parsed)?,
        limit: section.get("limit", count)?,
        max_new_tokens: section.get("max_new_tokens", count)?,
        stop: section.list("stop", text)?,
        seqlen: section.get("seqlen", count)?,
        window: defaults.window(),
    };
    section.finish()?;
    if let EvaluationData::Task { task, .. } = &evaluation.data {
        let reading = &evaluation.reading;
        let given = [
            ("prompt", reading.prompt.as_ref().map(|it| &it.span)),
            ("fields", reading.fields.as_ref().map(|it| &it.span)),
            ("metrics", evaluation.metrics.first().map(|it| &it.span)),
            ("stop", evaluation.stop.first().map(|it| &it.span)),
        ];
        if let Some((key, span)) = given.into_iter().find_map(|(key, span)| Some((key, span?))) {
            let message = format!("the task {} says itself what `{key}` is", task.value);
            return Err(Problem::new(span, message));
        }
    }
    Ok(evaluation)
}

/// A file of rows, or a task with its data.
fn evaluation_data(section: &mut Section) -> Result<EvaluationData> {
    let Some(task) = section.get("task", path)? else {
        return Ok(EvaluationData::Rows(section.need("file", path)?));
    };
    Ok(EvaluationData::Task {
        task,
        data: section.need("data", path)?,
        shots: section.get("shots", integer)?,
        chat: {
            let placed = |value: &Spanned<DeValue>| Ok(At { value: flag(value)?, span: value.span() });
            let chat = ChatSpec {
                chat_template: section.get("chat_template", placed)?,
                multiturn: section.get("multiturn", placed)?,
            };
            if let (Some(multiturn), false) = (&chat.multiturn, chat.is_wanted()) {
                let message =
                    "`multiturn` says how examples stand in a chat template: give `chat_template = true` too";
                return Err(Problem::new(&multiturn.span, message));
            }
            chat
        },
    })
}

pub(super) fn reading(section: &mut Section, prompt: Option<At<String>>) -> Result<ReadingSpec> {
    Ok(ReadingSpec {
        prompt,
        fields: section.get("fields", text)?,
        strict: section.get("strict", flag)?.unwrap_or(false),
    })
}

pub(super) fn options(section: &mut Section) -> Result<Vec<(At<String>, At<String>)>> {
    let Some(options) = section.value("options") else { return Ok(Vec::new()) };
    entries(options, |key, value| Ok((key.clone(), scalar(value)?)))
}
