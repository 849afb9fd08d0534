//! Calibration-set selectors.

use crate::options::limit;
use crate::{Allowed, Documents, Model, OptionKind, OptionSpec, Options, Result, Windows};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;

/// A way of choosing calibration data from a collection of documents.
///
/// A selector says which documents, in its order of preference; the host cuts windows of them, by crops, by
/// packing or one document a window, as the user wants them.
pub trait Selector: Send + Sync + 'static {
    /// The selector's name, what it does, and its options.
    fn info() -> SelectorInfo
    where
        Self: Sized;

    /// An instance with these options, which the host has checked against [`SelectorInfo::options`].
    ///
    /// # Errors
    /// A value the selector cannot work with.
    fn new(options: &Options) -> Result<Self>
    where
        Self: Sized;

    /// Offers documents until no more windows are [wanted](Windows::wanted), or none are left to offer.
    /// Documents that do not suffice are no error of the selector's: the host says what is missing.
    ///
    /// # Errors
    /// Whatever stops the selection; the errors of `documents`, `model` and `windows` are passed on with `?`.
    fn select(
        &self,
        documents: &Documents,
        model: &Model,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()>;
}

/// The description of a selector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectorInfo {
    /// Its name, as in `--selector NAME`.
    pub name: String,
    /// A summary in one line.
    pub summary: String,
    /// The options it takes.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// Whether it asks the model; one that does not is run without loading any.
    #[serde(default)]
    pub needs_model: bool,
}

impl SelectorInfo {
    /// A selector without options that does without the model.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { name: name.into(), summary: summary.into(), options: Vec::new(), needs_model: false }
    }

    /// Asks for the model.
    #[must_use]
    pub fn needs_model(mut self) -> Self {
        self.needs_model = true;
        self
    }

    /// Adds an option.
    #[must_use]
    pub fn option(
        mut self,
        name: impl Into<String>,
        kind: OptionKind,
        default: impl Into<Value>,
        summary: impl Into<String>,
    ) -> Self {
        self.options.push(OptionSpec {
            name: name.into(),
            kind,
            default: default.into(),
            summary: summary.into(),
            allowed: Allowed::Any,
        });
        self
    }

    /// Limits the option before it to numbers in this range; an infinite end is no bound.
    #[must_use]
    pub fn range(mut self, range: RangeInclusive<f64>) -> Self {
        limit(&mut self.options, Allowed::range(range));
        self
    }

    /// Limits the option before it to these texts.
    #[must_use]
    pub fn choices(mut self, choices: &[&str]) -> Self {
        limit(&mut self.options, Allowed::Choices(choices.iter().map(|&choice| choice.to_owned()).collect()));
        self
    }
}

/// A request to a selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionRequest {
    /// How many windows; of a budget in tokens, as many as it fills.
    pub samples: usize,
    /// Tokens in a window, at most.
    pub seqlen: usize,
    /// The seed of every random draw.
    pub seed: u64,
}
