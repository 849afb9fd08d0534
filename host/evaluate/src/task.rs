//! Tasks: metrics and the data they are measured on.

use super::{Metric, TaskDefinition};
use espalier_data::{Reading, Source};
use serde::Serialize;
use std::sync::Arc;

/// A task: data, and what is measured on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Where its data are.
    pub source: Source,
    /// How they are read, and put into prompts.
    pub reading: Reading,
    /// Metrics.
    pub metrics: Vec<Metric>,
    /// The most tokens that are written for an item.
    pub max_new_tokens: usize,
    /// Only the first so many items.
    pub limit: Option<usize>,
    /// The most tokens of a sequence whose likelihood is measured: by default 2048, or the model's context; for a defined
    /// task the whole context.
    pub seqlen: Option<usize>,
    /// Texts that end a prediction, beside the model's end token; they are not part of it.
    pub stop: Vec<String>,
    /// How rows become requests, where they are not prompts and answers by their own shape.
    pub definition: Option<Arc<TaskDefinition>>,
    /// How many examples stand before an item of a defined task; as many as its definition says by default.
    pub shots: Option<usize>,
    /// Whether a defined task is put into the model's chat template, and how.
    pub chat: Option<ChatForm>,
}

/// How the examples of a task stand in a chat template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatForm {
    /// All of them and the question are one message of the user.
    Single,
    /// Each is a turn of its own: a message of the user, and one of the assistant.
    Multi,
}

/// The default limit of tokens that are written for an item.
const MAX_NEW_TOKENS: usize = 64;

impl ChatForm {
    /// The form that is asked for, if a template is: examples are turns of their own unless something else is said, as in
    /// lm-evaluation-harness 0.4.13.
    pub fn of(chat_template: bool, multiturn: Option<bool>) -> Option<Self> {
        chat_template.then(|| if multiturn.unwrap_or(true) { Self::Multi } else { Self::Single })
    }
}

impl Task {
    /// A task on all items of a source, named for its file.
    pub fn new(source: Source, metrics: Vec<Metric>) -> Self {
        let name = source.path.file_stem().unwrap_or(source.path.as_os_str());
        Self {
            name: name.to_string_lossy().into_owned(),
            source,
            reading: Reading::default(),
            metrics,
            max_new_tokens: MAX_NEW_TOKENS,
            limit: None,
            seqlen: None,
            stop: Vec::new(),
            definition: None,
            shots: None,
            chat: None,
        }
    }

    /// A defined task on data in a file or folder, named for its definition.
    pub fn defined(definition: Arc<TaskDefinition>, source: Source) -> Self {
        let task = Self::new(source, definition.metrics.clone());
        let (max_new_tokens, stop) = definition.writing();
        Self { name: definition.name.clone(), max_new_tokens, stop, definition: Some(definition), ..task }
    }

    /// Whether this is measured.
    pub fn measures(&self, metric: Metric) -> bool {
        self.metrics.contains(&metric)
    }

    /// Whether the model has to write.
    pub fn writes(&self) -> bool {
        self.metrics.iter().any(|metric| metric.of_text())
    }

    /// Whether likelihoods of given text are measured.
    pub fn reads(&self) -> bool {
        self.metrics.iter().any(|metric| metric.of_tokens())
    }
}
