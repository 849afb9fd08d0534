//! Calibration sets and evaluations of a study file.

use super::{
    Checked, StudyModel,
    methods::{library, options, typed},
};
use crate::{
    Result, StudyError, StudyFile,
    estimate::Extent,
    file::{At, CalibrationSpec, ChatSpec, EvaluationData, EvaluationSpec, Problem, ReadingSpec},
    report::CalibrationKind,
};
use espalier_base::text::did_you_mean;
use espalier_data::{CalibrationError, ChatTemplate, Collection, Prompt, Reading, Shape, Source};
use espalier_evaluate::{ChatForm, DefinitionName, Metric, Task, TaskDefinition};
use espalier_model::LlamaConfig;
use espalier_plugins::Library;
use espalier_select::{Budget, Chosen, LossMask, Request};
use serde_json::{Value, json};
use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A calibration set of a study.
#[derive(Debug)]
pub struct StudyCalibration {
    /// Its name.
    pub name: String,
    /// The request, without the seed.
    pub request: Request,
    /// The libraries to look for its selector in first.
    pub libraries: Vec<Library>,
    /// The selector; none where the rows are windows already, so that seeds change nothing.
    pub selector: Option<Chosen>,
    /// Its kind.
    pub kind: CalibrationKind,
    /// Its rows.
    pub rows: usize,
}

/// Something that a study evaluates on.
#[derive(Debug)]
pub struct StudyEvaluation {
    /// The task.
    pub task: Task,
    /// The ability that it is a measure of.
    pub group: Option<String>,
    /// The rows of its data.
    pub rows: usize,
}

/// How the digest of a file or folder is had.
type Digest<'a> = dyn FnMut(&Path) -> Result<String> + 'a;

impl StudyCalibration {
    /// All that determines it, but for the model and the seed.
    pub(crate) fn identity(&self, digest: &mut Digest) -> Result<Value> {
        let request = &self.request;
        let sources = request
            .sources
            .iter()
            .map(|source| Ok(json!({ "sha256": digest(&source.path)?, "weight": source.weight })));
        let mut identity = json!({
            "sources": sources.collect::<Result<Vec<_>>>()?,
            "reading": reading_identity(&request.reading, digest)?,
            "windows": request.windows,
            "budget": request.budget,
            "seqlen": request.seqlen,
            "selector": self.selector.as_ref().map(|selector| {
                let record = selector.record();
                json!({
                    "library": record.version,
                    "sha256": record.sha256,
                    "name": record.name,
                    "options": record.options,
                })
            }),
        });
        // Absent where all tokens count, so that results of before there were masks still stand.
        if !request.loss_mask.is_all() {
            identity["loss_mask"] = json!(request.loss_mask);
        }
        Ok(identity)
    }

    /// How many windows of how many tokens, about.
    pub(crate) fn extent(&self, config: &LlamaConfig) -> (usize, usize) {
        let seqlen = config.seqlen(self.request.seqlen);
        let usual = if self.selector.is_some() { espalier_select::SAMPLES } else { self.rows };
        (self.request.budget.map_or(usual, |budget| budget.samples(seqlen)), seqlen)
    }

    /// A summary in words.
    pub(crate) fn summary(&self) -> String {
        let names = self.request.sources.iter().map(|source| {
            let name = source.path.file_name().unwrap_or(source.path.as_os_str()).to_string_lossy();
            source.weight.map_or_else(|| name.to_string(), |weight| format!("{name} (weight {weight})"))
        });
        let mut parts = vec![format!("{}: {} rows", names.collect::<Vec<_>>().join(", "), self.rows)];
        parts.extend(self.request.budget.map(|budget| budget.to_string()));
        parts.extend(self.request.seqlen.map(|seqlen| format!("of at most {seqlen} tokens")));
        parts.extend(self.selector.as_ref().map(|selector| format!("chosen by {}", selector.record().name)));
        parts.join(", ")
    }
}

impl StudyEvaluation {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.task.name
    }

    /// All that determines it, but for the model.
    pub(crate) fn identity(&self, digest: &mut Digest) -> Result<Value> {
        let task = &self.task;
        if let Some(definition) = &task.definition {
            let files = task.files().map_err(StudyError::from)?;
            let mut identity = json!({
                "definition": definition.text,
                "files": files.iter().map(|path| digest(path)).collect::<Result<Vec<_>>>()?,
                "shots": task.shots(),
                "strict": task.reading.strict,
                "limit": task.limit,
                "max_new_tokens": task.max_new_tokens,
                "seqlen": task.seqlen,
            });
            // Absent without a chat template, so that results of before there were any still stand.
            if let Some(form) = task.chat {
                identity["chat"] = json!(form);
            }
            return Ok(identity);
        }
        Ok(json!({
            "sha256": digest(&task.source.path)?,
            "reading": reading_identity(&task.reading, digest)?,
            "metrics": task.metrics,
            "limit": task.limit,
            "max_new_tokens": task.max_new_tokens,
            "seqlen": task.seqlen,
            "stop": task.stop,
        }))
    }

    /// How much there is to read and to write.
    pub(crate) fn extent(&self) -> Result<Extent> {
        let mut bytes = 0;
        for path in self.task.files().map_err(StudyError::from)? {
            bytes += fs::metadata(&path).map_err(|source| StudyError::Read { path, source })?.len();
        }
        let items = self.task.limit.map_or(self.rows, |limit| limit.min(self.rows));
        let share = items as f64 / self.rows.max(1) as f64;
        let answers = if self.task.writes() { items } else { 0 };
        Ok(Extent::new((bytes as f64 * share) as u64, answers, self.task.max_new_tokens))
    }
}

/// How data is read, with the contents of files in place of their paths.
fn reading_identity(reading: &Reading, digest: &mut Digest) -> Result<Value> {
    let prompt = match &reading.prompt {
        Some(Prompt::File(path)) => Some(digest(path)?),
        prompt => prompt.as_ref().map(ToString::to_string),
    };
    let exclude = reading.exclude.iter().map(|path| digest(path)).collect::<Result<Vec<_>>>()?;
    Ok(json!({ "prompt": prompt, "fields": reading.fields, "strict": reading.strict, "exclude": exclude }))
}

/// What was found in calibration data. The sets of a grid share theirs, which is looked through once.
#[derive(Default)]
pub(super) struct Found(Vec<(Vec<Source>, Reading, FoundData)>);

#[derive(Clone, Copy)]
struct FoundData {
    kind: CalibrationKind,
    rows: usize,
    has_windows: bool,
}

impl Found {
    fn data(&mut self, sources: &[Source], reading: &Reading) -> Result<FoundData, CalibrationError> {
        if let Some((.., found)) = self.0.iter().find(|known| known.0 == sources && known.1 == *reading) {
            return Ok(*found);
        }
        let collection = Collection::open(sources, reading)?;
        let has_windows = collection.has_windows();
        let found = FoundData { kind: kind(&collection), rows: collection.len(), has_windows };
        self.0.push((sources.to_vec(), reading.clone(), found));
        Ok(found)
    }
}

/// The calibration set that an entry of the file asks for.
pub(super) fn calibration(
    file: &StudyFile,
    spec: &CalibrationSpec,
    models: &[StudyModel],
    found: &mut Found,
) -> Checked<StudyCalibration> {
    let mut reading = reading(file, &spec.reading)?;
    reading.exclude = spec.exclude.iter().map(|path| exists(file, path)).collect::<Checked<_>>()?;
    let sources = spec.files.iter().map(|text| source(file, text)).collect::<Checked<Vec<_>>>()?;
    let FoundData { kind, rows, has_windows } =
        found.data(&sources, &reading).map_err(|error| unusable(&spec.files[0].span, error))?;
    warn_beyond_context(&spec.name.value, spec.seqlen.as_ref(), models);
    let libraries: Vec<_> = spec.plugin.iter().map(|named| library(file, named)).collect::<Checked<_>>()?;
    let is_ready = has_windows && spec.selector.is_none() && spec.windows.is_none();
    let selector = if is_ready { None } else { Some(selector(spec, &libraries)?) };
    let budget = match (&spec.tokens, &spec.samples) {
        (Some(tokens), _) if is_ready => {
            return Err(Problem::new(&tokens.span, "windows that are ready are not cut: give `samples`"));
        }
        (Some(tokens), _) => Some(Budget::Tokens(tokens.value)),
        (None, samples) => samples.as_ref().map(|samples| Budget::Samples(samples.value)),
    };
    if let Some(mask) = spec.loss_mask.as_ref().filter(|mask| is_ready && !mask.value.is_all()) {
        let message = "windows that are ready do not say which tokens are answers: their rows have a `loss_mask`, or none";
        return Err(Problem::new(&mask.span, message));
    }
    let mut request = Request::new(sources);
    request.reading = reading;
    request.windows = spec.windows.as_ref().map(|mode| mode.value);
    request.loss_mask = spec.loss_mask.as_ref().map_or(LossMask::All, |mask| mask.value);
    request.budget = budget;
    request.seqlen = spec.seqlen.as_ref().map(|seqlen| seqlen.value);
    request.selector = selector.as_ref().map(|selector| selector.record().name.clone());
    request.options = typed(&spec.options);
    Ok(StudyCalibration { name: spec.name.value.clone(), kind, rows, request, libraries, selector })
}

/// The selector that an entry of the file asks for.
fn selector(spec: &CalibrationSpec, libraries: &[Library]) -> Checked<Chosen> {
    let name = spec.selector.as_ref();
    let span = name.or(spec.plugin.as_ref()).map_or(&spec.name.span, |named| &named.span);
    let refused = |error| Problem::because(span, "the selector is not usable", error);
    let name = name.map(|name| name.value.as_str());
    // Its description first, so that options it does not have are found where they stand.
    let info = Chosen::describe(libraries, name).map_err(refused)?;
    let options = options(&format!("the selector {}", info.name), &info.options, &spec.options)?;
    Chosen::find(libraries, name, &options).map_err(refused)
}

/// The evaluation that an entry of the file asks for.
pub(super) fn evaluation(
    file: &StudyFile,
    spec: &EvaluationSpec,
    models: &[StudyModel],
) -> Checked<StudyEvaluation> {
    let path = match &spec.data {
        EvaluationData::Rows(path) => path,
        EvaluationData::Task { task, data, shots, chat } => {
            return defined(file, spec, (task, data), (shots.as_ref(), chat), models);
        }
    };
    let reading = reading(file, &spec.reading)?;
    let source = Source::new(exists(file, path)?);
    let collection = Collection::open_for_evaluation(std::slice::from_ref(&source), &reading)
        .map_err(|error| unusable(&path.span, error))?;
    let has_answers = kind(&collection) != CalibrationKind::PlainText;
    let seqlen = spec.seqlen.as_ref().or(spec.window.as_ref().filter(|_| !has_answers));
    warn_beyond_context(&spec.name.value, seqlen, models);
    for metric in &spec.metrics {
        match metric.value {
            Metric::JsDivergence => {}
            Metric::Perplexity if has_answers => {
                let message = "perplexity is for running text; for answers there is answer_perplexity";
                return Err(Problem::new(&metric.span, message));
            }
            of_answers if of_answers != Metric::Perplexity && !has_answers => {
                let message =
                    format!("{of_answers} needs answers to compare with, which running text has not");
                return Err(Problem::new(&metric.span, message));
            }
            _ => {}
        }
    }
    let metrics = match spec.metrics.as_slice() {
        [] if has_answers => vec![Metric::ExactMatch, Metric::F1, Metric::Rouge1],
        [] => vec![Metric::Perplexity],
        given => given.iter().map(|metric| metric.value).collect(),
    };
    if let (Some(group), false) = (&spec.group, metrics[0].higher_is_better()) {
        return Err(no_ability(group, metrics[0]));
    }
    let mut task = Task::new(source, metrics);
    task.name.clone_from(&spec.name.value);
    task.reading = reading;
    task.limit = spec.limit.as_ref().map(|limit| limit.value);
    task.seqlen = seqlen.map(|seqlen| seqlen.value);
    task.stop = spec.stop.iter().map(|stop| stop.value.clone()).collect();
    if let Some(tokens) = &spec.max_new_tokens {
        task.max_new_tokens = tokens.value;
        fits_context(Some(tokens), models)?;
    }
    let group = spec.group.as_ref().map(|group| group.value.clone());
    Ok(StudyEvaluation { task, group, rows: collection.len() })
}

/// The problem of a group with a metric that is no share of anything.
fn no_ability(group: &At<String>, metric: Metric) -> Problem {
    let message = format!(
        "what a group keeps is measured by the first metric of its evaluations, of which more must be better; here that is \
         {metric}"
    );
    Problem::new(&group.span, message)
}

/// The defined task that an entry of the file asks for, with its data.
fn defined(
    file: &StudyFile,
    spec: &EvaluationSpec,
    (name, data): (&At<String>, &At<String>),
    (shots, chat): (Option<&At<u64>>, &ChatSpec),
    models: &[StudyModel],
) -> Checked<StudyEvaluation> {
    let refused = |span: &Range<usize>| {
        let span = span.clone();
        move |error| Problem::because(&span, "this cannot be used", error)
    };
    let named = match DefinitionName::of(&name.value) {
        Some(DefinitionName::File(path)) => DefinitionName::File(file.resolve(&path.to_string_lossy())),
        Some(shipped) => shipped,
        None => {
            let known = DefinitionName::shipped();
            let near = did_you_mean(&name.value, known.iter().copied());
            let known = known.join(", ");
            let message =
                format!("there is no task `{}`{near}; there are {known}, or a TOML file", name.value);
            return Err(Problem::new(&name.span, message));
        }
    };
    let definition = TaskDefinition::open(&named).map_err(refused(&name.span))?;
    let source = definition.data(&file.resolve(&data.value), &data.value).map_err(refused(&data.span))?;
    if !source.path.exists() {
        exists(file, data)?;
    }
    let mut task = Task::defined(definition, source);
    task.chat = ChatForm::of(chat.is_wanted(), chat.multiturn.as_ref().map(|multiturn| multiturn.value));
    if let (Some(wanted), Some(_)) = (&chat.chat_template, task.chat) {
        for model in models {
            ChatTemplate::of_model(&model.folder).map_err(|error| unusable(&wanted.span, error))?;
        }
    }
    task.name.clone_from(&spec.name.value);
    task.reading = reading(file, &spec.reading)?;
    task.limit = spec.limit.as_ref().map(|limit| limit.value);
    task.seqlen = spec.seqlen.as_ref().map(|seqlen| seqlen.value);
    task.shots = shots.map(|shots| usize::try_from(shots.value).unwrap_or(usize::MAX));
    warn_beyond_context(&spec.name.value, spec.seqlen.as_ref(), models);
    if let Some(tokens) = &spec.max_new_tokens {
        task.max_new_tokens = tokens.value;
        fits_context(Some(tokens), models)?;
    }
    if let (Some(group), false) = (&spec.group, task.metrics[0].higher_is_better()) {
        return Err(no_ability(group, task.metrics[0]));
    }
    let rows = task.check_rows().map_err(refused(&data.span))?;
    let group = spec.group.as_ref().map(|group| group.value.clone());
    Ok(StudyEvaluation { task, group, rows })
}

fn kind(collection: &Collection) -> CalibrationKind {
    let is_text = |shape| matches!(shape, Shape::Plain | Shape::Text | Shape::Windows);
    let texts = collection.sources().iter().filter(|source| is_text(source.shape)).count();
    match texts {
        0 => CalibrationKind::Task,
        all if all == collection.sources().len() => CalibrationKind::PlainText,
        _ => CalibrationKind::Mixed,
    }
}

/// Warns of sequences that are longer than a model's context.
fn warn_beyond_context(whose: &str, length: Option<&At<usize>>, models: &[StudyModel]) {
    for (model, length) in models.iter().flat_map(|model| length.map(|length| (model, length))) {
        model.config.warn_of_length(length.value, &format!("{whose}, {}", model.name));
    }
}

/// Refuses lengths that a model has no room for.
fn fits_context(length: Option<&At<usize>>, models: &[StudyModel]) -> Checked<()> {
    let Some(length) = length else { return Ok(()) };
    match models.iter().find(|model| model.config.max_position_embeddings < length.value) {
        None => Ok(()),
        Some(model) => {
            let context = model.config.max_position_embeddings;
            Err(Problem::new(&length.span, format!("the context of {} is {context} tokens", model.name)))
        }
    }
}

fn reading(file: &StudyFile, spec: &ReadingSpec) -> Checked<Reading> {
    let mut prompt = spec.prompt.as_ref().map(parse::<Prompt>).transpose()?;
    if let (Some(Prompt::File(path)), Some(given)) = (&mut prompt, &spec.prompt) {
        *path = exists(file, given)?;
    }
    let fields = spec.fields.as_ref().map(parse).transpose()?;
    Ok(Reading { fields, prompt, strict: spec.strict, exclude: Vec::new() })
}

/// A file or folder with its weight, relative to the study file.
fn source(file: &StudyFile, text: &At<String>) -> Checked<Source> {
    let mut source: Source = parse(text)?;
    let path = source.path.to_string_lossy().into_owned();
    source.path = exists(file, &text.with(path))?;
    Ok(source)
}

fn parse<T: FromStr<Err = CalibrationError>>(text: &At<String>) -> Checked<T> {
    text.value.parse().map_err(|error| unusable(&text.span, error))
}

/// A path that is there, relative to the study file.
fn exists(file: &StudyFile, path: &At<String>) -> Checked<PathBuf> {
    let found = file.resolve(&path.value);
    match fs::metadata(&found) {
        Ok(_) => Ok(found),
        Err(source) => Err(Problem::because(&path.span, format!("there is no {}", found.display()), source)),
    }
}

fn unusable(span: &Range<usize>, error: CalibrationError) -> Problem {
    Problem::because(span, "this cannot be used", error)
}
