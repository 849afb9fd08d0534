//! Tasks by a definition: their items, and what a model makes of them.

use super::{
    EvaluateError, Item, ItemCounts, Metric, Result, Task, TaskItems,
    contexts::{Before, Contexts},
    definition::{Requests, TaskDefinition},
    items::TaskItem,
    loglikelihood::{Continuation, continuations},
    matching::matches,
    requests::{Encoder, Request},
    shots::{Examples, row},
    turns::Turn,
};
use espalier_data::{CalibrationError, Collection, Reading, Tokenizer};
use espalier_model::{BATCH_TOKENS, Llama, LlamaConfig, ModelError, PrefixPlan};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The choices of an item; of a single continuation there is one, which is right.
#[derive(Debug, Default)]
pub(super) struct ItemChoices {
    pub(super) requests: Vec<Request>,
    texts: Vec<String>,
    gold: usize,
}

impl TaskItems {
    /// Reads the rows of a defined task.
    pub(super) fn read_defined(
        task: &Task,
        definition: &TaskDefinition,
        (folder, config): (&Path, &LlamaConfig),
        tokenizer: &Tokenizer,
    ) -> Result<Self> {
        let context = config.max_position_embeddings;
        if task.writes() && task.max_new_tokens >= context {
            return Err(EvaluateError::Room { max_new_tokens: task.max_new_tokens, context });
        }
        let length = task.seqlen.unwrap_or(context).min(context);
        let (collection, mut examples) = task.open_rows(definition)?;
        let contexts = Contexts::new(definition, task.chat, folder)?;
        let encoder = Encoder::new(tokenizer, config, length)?;
        let reader = DefinedReader { task, definition, contexts, encoder, context };
        let mut items: Vec<TaskItem> = Vec::new();
        let mut counts = ItemCounts::default();
        for index in 0..task.limit.unwrap_or(usize::MAX).min(collection.len()) {
            let (item, cut) = reader.item(&collection, index, &mut examples)?;
            counts.prompts_cut += usize::from(cut);
            items.push(item);
        }
        counts.items = items.len();
        let inputs: Vec<&[u32]> = requests(&items).map(Request::inputs).collect();
        let plan = PrefixPlan::new(&inputs, config, BATCH_TOKENS);
        Ok(Self { task: task.clone(), items, counts, plan })
    }
}

impl Task {
    /// How many examples stand before an item.
    pub fn shots(&self) -> usize {
        self.shots.or(self.definition.as_ref().map(|definition| definition.shots.count)).unwrap_or(0)
    }

    /// The files that its items and their examples are read from, in order.
    ///
    /// # Errors
    /// The folder of its data cannot be read, or lacks a part of them.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let Some(definition) = &self.definition else { return Ok(vec![self.source.path.clone()]) };
        let mut sources = self.source.split(&definition.split)?;
        if let (Some(split), true) =
            (&definition.shots.split, self.shots() > 0 && definition.shots.rows.is_empty())
        {
            sources.extend(self.source.split(split)?);
        }
        Ok(sources.into_iter().map(|source| source.path).collect())
    }

    /// Checks the rows of a defined task without a model, and counts them.
    ///
    /// # Errors
    /// The data cannot be read, rows do not fit the definition, or examples are missing.
    pub fn check_rows(&self) -> Result<usize> {
        let Some(definition) = &self.definition else { return Ok(0) };
        let (collection, mut examples) = self.open_rows(definition)?;
        let items = self.limit.unwrap_or(usize::MAX).min(collection.len());
        for index in 0..items {
            let place = || collection.place(index);
            let row = row(&collection, index)?;
            examples.before(&row, place)?;
            Turn::of(definition, &row, &place)?;
        }
        Ok(items)
    }

    /// The rows of a defined task and its examples. A row that cannot be used is an error: a benchmark without some of its
    /// items is another one.
    fn open_rows<'a>(&self, definition: &'a TaskDefinition) -> Result<(Collection, Examples<'a>)> {
        let reading = Reading { strict: true, ..self.reading.clone() };
        let collection = Collection::open_rows(&self.source.split(&definition.split)?, &reading)?;
        Ok((collection, Examples::open(definition, self.shots(), &self.source, &reading)?))
    }
}

/// The requests of all items.
fn requests(items: &[TaskItem]) -> impl Iterator<Item = &Request> {
    items.iter().flat_map(|item| &item.choices.requests)
}

struct DefinedReader<'a> {
    task: &'a Task,
    definition: &'a TaskDefinition,
    contexts: Contexts<'a>,
    encoder: Encoder<'a>,
    /// The model's context.
    context: usize,
}

impl DefinedReader<'_> {
    /// An item, and whether its context lost its beginning.
    fn item(
        &self,
        collection: &Collection,
        index: usize,
        examples: &mut Examples,
    ) -> Result<(TaskItem, bool), CalibrationError> {
        let place = || collection.place(index);
        let row = row(collection, index)?;
        let description = self.definition.description.as_ref();
        let description = description.map(|text| text.render(&row, place)).transpose()?.unwrap_or_default();
        let before = Before { description, shots: examples.before(&row, place)? };
        let whole = |question: &str| self.contexts.context(&before, question, place);
        let delimiter = self.contexts.delimiter();
        let mut item = TaskItem::default();
        let mut cut = false;
        match Turn::of(self.definition, &row, &place)? {
            Turn::Choice { context, choices, gold } => {
                item.prompt = whole(&context)?;
                let context = self.encoder.context(&item.prompt, place)?;
                let request = |choice: &String| {
                    self.encoder.request(&context, &[delimiter, choice.as_str()].concat(), place)
                };
                let requests = choices.iter().map(request).collect::<Result<_, _>>()?;
                item.references = vec![choices[gold].clone()];
                item.choices = ItemChoices { requests, texts: choices, gold };
            }
            Turn::Partial { contexts, target, gold } => {
                let continuation = [delimiter, target.as_str()].concat();
                let request = |context: &String| {
                    let whole = whole(context)?;
                    self.encoder.request(&self.encoder.context(&whole, place)?, &continuation, place)
                };
                let requests = contexts.iter().map(request).collect::<Result<_, _>>()?;
                item.references = vec![contexts[gold].clone()];
                item.prompt = before.text(self.definition);
                item.choices = ItemChoices { requests, texts: contexts, gold };
            }
            Turn::Single { context, target } if self.task.writes() => {
                item.prompt = whole(&context)?;
                let room = self.context - self.task.max_new_tokens;
                (item.prompt_ids, cut) = self.encoder.prompt(&item.prompt, room, place)?;
                item.references = vec![target];
            }
            Turn::Single { context, target } => {
                item.prompt = whole(&context)?;
                let context = self.encoder.context(&item.prompt, place)?;
                let requests = vec![self.encoder.request(&context, &target, place)?];
                item.references = vec![target.clone()];
                item.choices = ItemChoices { requests, texts: vec![target], gold: 0 };
            }
        }
        cut |= item.choices.requests.iter().any(|request| request.cut);
        Ok((item, cut))
    }
}

/// What a model makes of every item: of choices by their likelihoods, of predictions by what they say.
pub(super) fn measure(
    model: &Llama,
    items: &TaskItems,
    definition: &TaskDefinition,
    predictions: Vec<String>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Item>> {
    let task = &items.task;
    if let Requests::Generation { matching, .. } = &definition.requests {
        let measured = items.items.iter().zip(predictions);
        return Ok(measured
            .map(|(item, prediction)| matches(matching, &task.metrics, item, prediction))
            .collect());
    }
    let all: Vec<&Request> = requests(&items.items).collect();
    let single = matches!(definition.requests, Requests::Likelihood { .. });
    let found = continuations(model, &all, &items.plan, single, progress).map_err(|source| match source {
        ModelError::NoLikelihood { .. } => EvaluateError::Likelihood { task: task.name.clone(), source },
        other => other.into(),
    })?;
    let mut found = found.as_slice();
    let mut of_item = |item: &TaskItem| {
        let (own, rest) = found.split_at(item.choices.requests.len());
        found = rest;
        if single { completed(&task.metrics, item, own[0]) } else { chosen(&task.metrics, item, own) }
    };
    Ok(items.items.iter().map(&mut of_item).collect())
}

/// Whether the right choice is the likeliest: as it is, and by its length, as lm-evaluation-harness 0.4 measures it: in
/// characters for `acc_norm`, in bytes for `acc_bytes`.
fn chosen(metrics: &[Metric], item: &TaskItem, found: &[Continuation]) -> Item {
    let ItemChoices { texts, gold, .. } = &item.choices;
    let likeliest = |length: &dyn Fn(&String) -> usize| {
        let each = found.iter().zip(texts);
        highest(each.map(|(choice, text)| choice.loglikelihood / length(text) as f64))
    };
    let plain = likeliest(&|_| 1);
    let score = |&metric: &Metric| {
        let choice = match metric {
            Metric::AccNorm => likeliest(&|text| text.chars().count()),
            Metric::AccBytes => likeliest(&|text| text.len()),
            _ => plain,
        };
        (metric, f64::from(u8::from(choice == *gold)))
    };
    Item {
        prediction: Some(texts[plain].clone()),
        choices: found.iter().map(|choice| choice.loglikelihood).collect(),
        scores: metrics.iter().map(score).collect(),
        ..Item::new(item)
    }
}

/// Whether greedy decoding finds the continuation, and how likely it is as a whole.
fn completed(metrics: &[Metric], item: &TaskItem, found: Continuation) -> Item {
    let score = |&metric: &Metric| match metric {
        Metric::TargetPerplexity => (metric, (-found.loglikelihood).exp()),
        _ => (metric, f64::from(u8::from(found.greedy))),
    };
    let scores: BTreeMap<_, _> = metrics.iter().map(score).collect();
    Item { choices: vec![found.loglikelihood], scores, ..Item::new(item) }
}

/// The place of the highest number, of equals the first.
fn highest(numbers: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (place, number) in numbers.enumerate() {
        if number > best.1 {
            best = (place, number);
        }
    }
    best.0
}
