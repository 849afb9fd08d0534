//! Tasks: metrics and the data they are measured on.

use super::Metric;
use espalier_data::{Reading, Source};
use serde::{Deserialize, Serialize};

/// A task: data, and what is measured on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Where its data are.
    pub source: Source,
    /// How they are read, and put into prompts.
    #[serde(default)]
    pub reading: Reading,
    /// Metrics.
    pub metrics: Vec<Metric>,
    /// The most tokens that are written for an item.
    #[serde(default = "max_new_tokens")]
    pub max_new_tokens: usize,
    /// Only the first so many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The most tokens of a sequence whose likelihood is measured: 2048, or the model's context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seqlen: Option<usize>,
    /// Texts that end a prediction, beside the model's end token; they are not part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

/// The default limit of tokens that are written for an item.
const MAX_NEW_TOKENS: usize = 64;

fn max_new_tokens() -> usize {
    MAX_NEW_TOKENS
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
        }
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
        self.metrics.iter().any(|metric| !metric.of_text())
    }
}
