//! A task's data, tokenised.

use super::{EvaluateError, Metric, Result, Task, defined::ItemChoices, metrics::rouge};
use espalier_data::{
    CalibrationError, Collection, Record, Refusals, Renderer, Tokenizer, evaluation_windows,
};
use espalier_model::{LlamaConfig, PrefixPlan};
use serde::Serialize;
use std::path::Path;

/// A task's data, tokenised for models of one tokenizer and context.
#[derive(Debug)]
pub struct TaskItems {
    pub(super) task: Task,
    pub(super) items: Vec<TaskItem>,
    pub(super) counts: ItemCounts,
    /// How the requests of a defined task are computed.
    pub(super) plan: PrefixPlan,
}

/// The counts of a task's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ItemCounts {
    /// Items: rows with an answer, or windows of running text.
    pub items: usize,
    /// Rows that were passed over because they have no answer.
    pub without_answer: usize,
    /// Prompts whose beginning was cut off, so that the new tokens fit the model's context.
    pub prompts_cut: usize,
    /// Sequences whose end was cut off for the measure of their likelihood.
    pub answers_cut: usize,
    /// Rows that a template or the tokenizer refuses, and that were left out.
    pub refused: usize,
    /// Items of whose references ROUGE-1 sees nothing, where it is measured: it knows the letters a to z and digits alone.
    pub unseen_by_rouge: usize,
    /// Items whose earlier turns the chat template writes differently once the answer follows: the answer is measured behind
    /// the prompt, not in the document that the template would write.
    pub rewritten: usize,
}

/// One item.
#[derive(Debug, Default)]
pub(super) struct TaskItem {
    pub(super) prompt: String,
    pub(super) references: Vec<String>,
    /// The tokens of the prompt.
    pub(super) prompt_ids: Vec<u32>,
    /// The tokens whose likelihood is measured: the prompt, the first answer and the end token; or a window.
    pub(super) ids: Vec<u32>,
    /// The first of them that is predicted.
    pub(super) from: usize,
    /// The requests of a defined task.
    pub(super) choices: ItemChoices,
}

impl TaskItem {
    /// How many tokens are predicted.
    pub(super) fn predicted(&self) -> usize {
        self.ids.len() - self.from.min(self.ids.len())
    }
}

impl TaskItems {
    /// Reads a task's data for the model in `folder`.
    ///
    /// Items are rows with at least one answer; of data without any answer, windows of running text.
    ///
    /// A prompt that leaves no room for the new tokens loses its beginning, but for the token that begins a
    /// text, because its end is what the answer follows. A sequence that is too long for the measure of its
    /// likelihood loses its end. Both are counted.
    ///
    /// # Errors
    /// Data that cannot be read, metrics that do not fit them, or no room for a prompt.
    pub fn read(task: &Task, folder: &Path, config: &LlamaConfig, tokenizer: &Tokenizer) -> Result<Self> {
        if task.metrics.is_empty() {
            return Err(EvaluateError::NoMetrics { task: task.name.clone() });
        }
        if task.stop.iter().any(String::is_empty) {
            return Err(EvaluateError::EmptyStop { task: task.name.clone() });
        }
        if let Some(definition) = &task.definition {
            return Self::read_defined(task, definition, (folder, config), tokenizer);
        }
        if let Some(&metric) = task.metrics.iter().find(|metric| metric.of_definition()) {
            return Err(EvaluateError::NoDefinition { metric });
        }
        let context = config.max_position_embeddings;
        let seqlen = config.seqlen(task.seqlen);
        config.warn_of_length(seqlen, &task.name);
        if task.writes() && task.max_new_tokens >= context {
            return Err(EvaluateError::Room { max_new_tokens: task.max_new_tokens, context });
        }
        let collection = Collection::open_for_evaluation(std::slice::from_ref(&task.source), &task.reading)?;
        let renderer = Renderer::new(task.reading.prompt.clone(), folder)?;
        let reader =
            ItemReader { task, collection: &collection, renderer: &renderer, tokenizer, config, seqlen };
        let mut counts = ItemCounts::default();
        let items = match reader.first_answer()? {
            Some(index) => reader.answers(index, &mut counts)?,
            None => reader.windows()?,
        };
        counts.items = items.len();
        Ok(Self { task: task.clone(), items, counts, plan: PrefixPlan::default() })
    }

    /// Whether a divergence from a dense model is measured on them.
    pub fn compares(&self) -> bool {
        self.task.measures(Metric::JsDivergence)
    }

    /// The counts of rows.
    pub fn counts(&self) -> ItemCounts {
        self.counts
    }

    /// The text of every item: its prompt and its right answers, or a window of running text.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn texts(&self, tokenizer: &Tokenizer) -> Result<Vec<String>> {
        let text = |item: &TaskItem| {
            if item.prompt.is_empty() && item.references.is_empty() {
                return Ok(tokenizer.decode(&item.ids)?);
            }
            let parts =
                std::iter::once(item.prompt.as_str()).chain(item.references.iter().map(String::as_str));
            Ok(parts.collect::<Vec<_>>().join("\n"))
        };
        self.items.iter().map(text).collect()
    }

    /// Warns of what was not taken as the data have it.
    pub fn warn(&self) {
        let ItemCounts { without_answer, prompts_cut, answers_cut, unseen_by_rouge, rewritten, .. } =
            self.counts;
        for (count, what) in [
            (without_answer, "rows have no answer and are passed over"),
            (prompts_cut, "prompts are too long for the model's context and lose their beginning"),
            (answers_cut, "sequences are too long for their likelihood and lose their end"),
            (
                unseen_by_rouge,
                "items have no reference with a letter a to z or a digit; ROUGE-1 sees nothing else and gives them 0",
            ),
            (
                rewritten,
                "prompts are not how the chat template begins the whole conversation, because it writes earlier turns \
                 differently once an answer follows; their answers are measured behind the prompt",
            ),
        ] {
            if count > 0 {
                tracing::warn!("{}: {count} {what}", self.task.name);
            }
        }
    }

    /// How much work a [run](fn@super::run) with a model is, in the units that its progress counts.
    pub fn work(&self, config: &LlamaConfig) -> usize {
        self.reading_work(config) + self.writing_work(config) * self.items.len()
    }

    /// How much of it the measure of likelihoods is, and the making of a dense reference.
    pub fn reading_work(&self, config: &LlamaConfig) -> usize {
        let tokens: usize = self.items.iter().map(|item| item.ids.len()).sum();
        (tokens + self.plan.tokens()) * config.num_hidden_layers
    }

    /// How much of it is to write for one item.
    pub(super) fn writing_work(&self, config: &LlamaConfig) -> usize {
        if self.task.writes() { self.task.max_new_tokens * config.num_hidden_layers } else { 0 }
    }
}

struct ItemReader<'a> {
    task: &'a Task,
    collection: &'a Collection,
    renderer: &'a Renderer,
    tokenizer: &'a Tokenizer,
    config: &'a LlamaConfig,
    seqlen: usize,
}

impl ItemReader<'_> {
    /// The first row that has an answer.
    fn first_answer(&self) -> Result<Option<usize>> {
        for index in 0..self.collection.len() {
            if has_answer(&self.collection.record(index)?.references()) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn answers(&self, first: usize, counts: &mut ItemCounts) -> Result<Vec<TaskItem>> {
        if self.task.measures(Metric::Perplexity) {
            let place = self.collection.place(first);
            return Err(EvaluateError::Answers { metric: Metric::Perplexity, place });
        }
        let mut items = Vec::new();
        let mut refusals = Refusals::default();
        for index in 0..self.collection.len() {
            if self.task.limit.is_some_and(|limit| items.len() >= limit) {
                break;
            }
            let record = self.collection.record(index)?;
            if !has_answer(&record.references()) {
                counts.without_answer += 1;
                continue;
            }
            let made = self.item(&record, || self.collection.place(index));
            let Some((item, changed)) = refusals.keep(self.collection, index, made)? else { continue };
            if self.task.measures(Metric::Rouge1) || self.task.measures(Metric::Rouge1Stemmed) {
                counts.unseen_by_rouge += usize::from(!item.references.iter().any(|text| rouge::sees(text)));
            }
            counts.rewritten += usize::from(changed.rewritten);
            counts.answers_cut += usize::from(changed.answer);
            counts.prompts_cut += usize::from(changed.prompt);
            items.push(item);
        }
        refusals.warn();
        counts.refused = refusals.count();
        Ok(items)
    }

    /// An item, and what was not taken as it is.
    fn item(
        &self,
        record: &Record,
        place: impl Fn() -> String,
    ) -> std::result::Result<(TaskItem, Changed), CalibrationError> {
        let rendered = self.renderer.render(record, &place)?;
        let mut changed = Changed { rewritten: rendered.rewritten, ..Changed::default() };
        let mut item = TaskItem {
            references: record.references().into_iter().map(str::to_owned).collect(),
            prompt_ids: self.tokenizer.encode(&rendered.prompt, rendered.special, &place)?,
            ..TaskItem::default()
        };
        if rendered.special && item.prompt_ids.last().is_some_and(|last| self.ends(*last)) {
            // Some tokenizers end every text; this one goes on.
            item.prompt_ids.pop();
        }
        if self.task.reads() {
            let whole = self.tokenizer.encode(&rendered.whole(), rendered.special, &place)?;
            changed.answer = self.predict(&mut item, whole);
        }
        if self.task.writes() {
            changed.prompt = self.make_room(&mut item.prompt_ids);
        }
        item.prompt = rendered.prompt;
        Ok((item, changed))
    }

    fn ends(&self, token: u32) -> bool {
        self.tokenizer.eos() == Some(token) || self.config.eos_token_ids.contains(&token)
    }

    /// The sequence whose likelihood is measured. Whether it had to be cut.
    fn predict(&self, item: &mut TaskItem, mut document: Vec<u32>) -> bool {
        let shared = document.iter().zip(&item.prompt_ids).take_while(|(a, b)| a == b).count();
        // The first token is not predicted; with nothing before it, there is nothing to predict from.
        item.from = shared.max(1);
        let answer = document.get(item.from..).unwrap_or_default();
        if !answer.iter().any(|&token| self.ends(token)) {
            document.extend(self.tokenizer.eos().or(self.config.eos_token_ids.first().copied()));
        }
        let cut = document.len() > self.seqlen;
        document.truncate(self.seqlen);
        item.ids = document;
        cut
    }

    /// Cuts off a prompt's beginning where it leaves no room for the new tokens. Whether it did.
    fn make_room(&self, prompt: &mut Vec<u32>) -> bool {
        let room = self.config.max_position_embeddings - self.task.max_new_tokens;
        if prompt.len() <= room {
            return false;
        }
        let begin = usize::from(prompt.first().copied() == self.config.bos_token_id && room > 1);
        prompt.drain(begin..prompt.len() - room + begin);
        true
    }

    fn windows(&self) -> Result<Vec<TaskItem>> {
        let unfit = |metric: &&Metric| !matches!(metric, Metric::Perplexity | Metric::JsDivergence);
        if let Some(&metric) = self.task.metrics.iter().find(unfit) {
            return Err(EvaluateError::NoAnswers {
                metric,
                place: self.task.source.path.display().to_string(),
            });
        }
        let vocab_size = self.config.vocab_size;
        let windows = evaluation_windows(
            self.collection,
            self.renderer,
            || Ok(self.tokenizer),
            self.seqlen,
            vocab_size,
        )?;
        let windows = windows.into_iter().take(self.task.limit.unwrap_or(usize::MAX));
        Ok(windows.map(|ids| TaskItem { ids, from: 1, ..TaskItem::default() }).collect())
    }
}

/// How an item differs from its row.
#[derive(Default)]
struct Changed {
    rewritten: bool,
    answer: bool,
    prompt: bool,
}

fn has_answer(references: &[&str]) -> bool {
    references.iter().any(|reference| !reference.trim().is_empty())
}
