//! Definitions of tasks: how the rows of a data set become requests, in a TOML file.

mod file;
mod shipped;

use super::{Metric, Result};
use espalier_data::{Extraction, Ignored, Row, RowExpression, RowTemplate, Source};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How the rows of a data set become requests, and what is measured on them.
#[derive(Debug)]
pub struct TaskDefinition {
    /// Its name: that of its file, or of the shipped task.
    pub name: String,
    /// The TOML that it was read from.
    pub text: String,
    /// What is measured.
    pub metrics: Vec<Metric>,
    pub(super) requests: Requests,
    /// The part of the data that is evaluated.
    pub(super) split: String,
    /// Text before everything.
    pub(super) description: Option<RowTemplate>,
    /// Between a context and what follows it.
    pub(super) delimiter: String,
    /// Between two examples.
    pub(super) separator: String,
    pub(super) shots: Shots,
}

impl PartialEq for TaskDefinition {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

/// The requests of a row.
#[derive(Debug)]
pub(super) enum Requests {
    /// One context, several continuations.
    Choice { context: RowTemplate, choices: Choices, gold: RowExpression },
    /// Several contexts, one continuation.
    Partial { contexts: Vec<RowTemplate>, target: RowTemplate, gold: RowExpression },
    /// One context, one continuation.
    Likelihood { context: RowTemplate, target: RowTemplate },
    /// One context that the model goes on from, and an answer.
    Generation {
        context: RowTemplate,
        target: RowTemplate,
        stop: Vec<String>,
        max_new_tokens: usize,
        matching: Matching,
    },
}

/// Where a row's choices come from.
#[derive(Debug)]
pub(super) enum Choices {
    /// The same for every row, but for what their templates take from it.
    Listed(Vec<RowTemplate>),
    /// A list in the row, each item of which a template may change.
    Of { list: RowExpression, each: Option<RowTemplate> },
}

/// The examples before an item.
#[derive(Debug)]
pub(super) struct Shots {
    /// How many, where nothing else is asked for.
    pub(super) count: usize,
    /// The part of the data that they are from.
    pub(super) split: Option<String>,
    /// Examples that stand in the definition itself.
    pub(super) rows: Vec<Row>,
    pub(super) draw: Draw,
    /// Whether one more is drawn than asked for, and the item itself left out, as the harness does for tasks without a
    /// test set.
    pub(super) spare: bool,
    /// A field that an example must have in common with the item.
    pub(super) same: Option<String>,
}

/// Which examples are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// The first.
    First,
    /// Others for every item, from this seed on.
    Seeded(u32),
}

/// How a prediction is compared with the answer.
#[derive(Debug)]
pub(super) struct Matching {
    pub(super) strict: Option<Extraction>,
    pub(super) flexible: Option<Extraction>,
    pub(super) ignored: Ignored,
}

/// A task by its name or its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinitionName {
    /// One that comes with Espalier.
    Shipped(&'static str),
    /// A TOML file.
    File(PathBuf),
}

impl DefinitionName {
    /// What a text names: a shipped task, or a file whose name ends in `.toml`; nothing else.
    pub fn of(text: &str) -> Option<Self> {
        if text.ends_with(".toml") {
            return Some(Self::File(text.into()));
        }
        shipped::NAMES.into_iter().find(|name| *name == text).map(Self::Shipped)
    }

    /// The names of the tasks that come with Espalier.
    pub fn shipped() -> &'static [&'static str] {
        &shipped::NAMES
    }
}

impl TaskDefinition {
    /// Reads a definition.
    ///
    /// # Errors
    /// The file cannot be read, or is no definition of a task: the message has the line and column.
    pub fn open(name: &DefinitionName) -> Result<Arc<Self>> {
        match name {
            DefinitionName::Shipped(name) => {
                Self::parse(name, Path::new(&format!("{name}.toml")), shipped::text(name))
            }
            DefinitionName::File(path) => file::open(path),
        }
        .map(Arc::new)
    }

    /// The data of this task: those at a path, or `ORG/NAME` or `ORG/NAME/CONFIG` of a data set in the hub's cache, of which a
    /// shipped task knows its configuration.
    ///
    /// # Errors
    /// There is nothing at this path, and the cache has no such data set.
    pub fn data(&self, path: &Path, name: &str) -> Result<Source> {
        Ok(Source::on_disk_or_hub(path, name, shipped::hub_config(&self.name))?)
    }

    /// The most tokens that are written for an item, and the texts that end them.
    pub(super) fn writing(&self) -> (usize, Vec<String>) {
        match &self.requests {
            Requests::Generation { max_new_tokens, stop, .. } => (*max_new_tokens, stop.clone()),
            _ => (0, Vec::new()),
        }
    }
}
