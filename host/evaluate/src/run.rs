//! A model at a task.

use super::{
    DenseReference, EvaluateError, ItemCounts, Mean, Metric, Result, Score, TaskItems, defined,
    items::TaskItem,
    likelihood::{Likelihood, likelihoods, sequences},
    mean,
    metrics::{exact_match, f1, rouge1},
    number,
    stop::Stops,
};
use espalier_data::Tokenizer;
use espalier_model::{BATCH_TOKENS, Generation, Llama, ModelError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a model does at a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskResult {
    /// The task's name.
    pub name: String,
    /// The metrics over all items.
    pub metrics: BTreeMap<Metric, Mean>,
    /// The counts of the data's rows.
    pub counts: ItemCounts,
    /// Item by item. Not part of what is printed: see [`write_predictions`](super::write_predictions).
    #[serde(skip)]
    pub items: Vec<Item>,
}

/// How a model does at one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The prompt; empty for a window of running text.
    pub prompt: String,
    /// The generated answer, if one was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<String>,
    /// The answers that would do.
    pub references: Vec<String>,
    /// The tokens that its perplexity and divergence are over; none where neither was asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens: usize,
    /// The log-likelihood of every choice of a defined task, in nats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<f64>,
    /// The scores. Perplexity and divergence are missing where there were no tokens to predict.
    #[serde(with = "number::by_metric")]
    pub scores: BTreeMap<Metric, f64>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Item {
    /// An item of which nothing is known yet.
    pub(super) fn new(item: &TaskItem) -> Self {
        Self {
            prompt: item.prompt.clone(),
            prediction: None,
            references: item.references.clone(),
            tokens: 0,
            choices: Vec::new(),
            scores: BTreeMap::new(),
        }
    }

    /// Its part in a metric's mean.
    pub fn score(&self, metric: Metric) -> Score {
        match self.scores.get(&metric) {
            Some(&value) => {
                Score { value, weight: if metric.of_tokens() { self.tokens as f64 } else { 1.0 } }
            }
            None => Score { value: f64::NAN, weight: 0.0 },
        }
    }
}

/// Runs a model on a task's items; greedily, so that the same model gives the same result. `progress` is
/// told of work done, of [`TaskItems::work`] in all.
///
/// # Errors
/// A task with [`Metric::JsDivergence`] without a dense reference, or with another model's; a failing
/// device, a broken checkpoint, or an interrupt.
pub fn run(
    model: &Llama,
    tokenizer: &Tokenizer,
    items: &TaskItems,
    dense: Option<&DenseReference>,
    progress: &mut dyn FnMut(usize),
) -> Result<TaskResult> {
    let task = &items.task;
    let dense = match (task.measures(Metric::JsDivergence), dense) {
        (true, None) => return Err(EvaluateError::NoDense { task: task.name.clone() }),
        (true, Some(dense)) => {
            dense.check(model, items)?;
            Some(dense)
        }
        (false, _) => None,
    };
    let mut likelihood = Vec::new();
    if task.reads() {
        let found = likelihoods(model, &sequences(items), dense, BATCH_TOKENS, progress);
        likelihood = found.map_err(|source| match source {
            ModelError::NoLikelihood { .. } => EvaluateError::Likelihood { task: task.name.clone(), source },
            other => other.into(),
        })?;
    }
    let predictions = if task.writes() { write(model, tokenizer, items, progress)? } else { Vec::new() };

    let results = match &task.definition {
        Some(definition) => defined::measure(model, items, definition, predictions, progress)?,
        None => {
            let (mut likelihood, mut predictions) = (likelihood.into_iter(), predictions.into_iter());
            let mut of_item = |item: &TaskItem| {
                let likelihood = if item.predicted() > 0 { likelihood.next() } else { None };
                measure(&task.metrics, item, likelihood, predictions.next())
            };
            items.items.iter().map(&mut of_item).collect()
        }
    };
    let mean_of = |&metric: &Metric| {
        let scores: Vec<_> = results.iter().map(|item| item.score(metric)).collect();
        (metric, mean(metric, &scores))
    };
    let metrics = task.metrics.iter().map(mean_of).collect();
    Ok(TaskResult { name: task.name.clone(), metrics, counts: items.counts(), items: results })
}

/// The model's answer to every item.
fn write(
    model: &Llama,
    tokenizer: &Tokenizer,
    items: &TaskItems,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<String>> {
    let task = &items.task;
    let prompts: Vec<&[u32]> = items.items.iter().map(|item| item.prompt_ids.as_slice()).collect();
    let work = items.writing_work(&model.config);
    let greedy = Generation::greedy(&model.config, task.max_new_tokens);
    let stops = Stops::new(&task.stop, tokenizer);
    let written = model.generate_until(&prompts, &greedy, &|tokens| stops.met(tokens), || progress(work))?;
    written.iter().map(|written| stops.prediction(&written.tokens)).collect()
}

fn measure(
    metrics: &[Metric],
    item: &TaskItem,
    likelihood: Option<Likelihood>,
    prediction: Option<String>,
) -> Item {
    let mut scores = BTreeMap::new();
    for &metric in metrics {
        let text = prediction.as_deref().map(|prediction| (prediction, item.references.as_slice()));
        let score = match metric {
            Metric::ExactMatch => text.map(|(prediction, references)| exact_match(prediction, references)),
            Metric::F1 => text.map(|(prediction, references)| f1(prediction, references)),
            Metric::Rouge1 => {
                text.map(|(prediction, references)| rouge1(prediction, references, false).fmeasure)
            }
            Metric::Rouge1Stemmed => {
                text.map(|(prediction, references)| rouge1(prediction, references, true).fmeasure)
            }
            Metric::Perplexity | Metric::AnswerPerplexity => {
                likelihood.map(|found| (found.loss / found.tokens as f64).exp())
            }
            Metric::JsDivergence => likelihood.map(|found| found.divergence / found.tokens as f64),
            // Refused where the rows are read.
            Metric::Acc
            | Metric::AccNorm
            | Metric::AccBytes
            | Metric::TargetPerplexity
            | Metric::StrictMatch
            | Metric::FlexibleExtract => None,
        };
        scores.extend(score.map(|score| (metric, score)));
    }
    let tokens = likelihood.map_or(0, |found| found.tokens);
    Item { prediction, tokens, scores, ..Item::new(item) }
}
