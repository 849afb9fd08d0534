//! Calibration-set selectors.

use crate::{OptionKind, OptionSpec, Options, Result, service::DocumentService};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A way of choosing calibration windows from a collection of documents.
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

    /// Exactly [`SelectionRequest::samples`] windows of at most [`SelectionRequest::seqlen`] tokens.
    ///
    /// # Errors
    /// The documents do not suffice; the message says what is missing.
    fn select(&self, documents: &Documents, request: &SelectionRequest) -> Result<Vec<Window>>;
}

/// What a selector says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectorInfo {
    /// Its name, as in `--selector NAME`.
    pub name: String,
    /// What it does, in a line.
    pub summary: String,
    /// The options it takes.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
}

impl SelectorInfo {
    /// A selector without options.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { name: name.into(), summary: summary.into(), options: Vec::new() }
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
        });
        self
    }
}

/// What is wanted of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionRequest {
    /// How many windows.
    pub samples: usize,
    /// Tokens in a window, at most.
    pub seqlen: usize,
    /// The seed of every random draw.
    pub seed: u64,
    /// The model's end-of-text token, which joins packed documents.
    pub eos: Option<u32>,
}

/// One document of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its text, as the prompt template rendered it.
    pub text: String,
    /// The file it came from.
    pub source: String,
}

/// The documents of a collection, read and tokenised when asked for.
pub struct Documents<'a>(&'a dyn DocumentService);

impl<'a> Documents<'a> {
    /// The documents behind a service.
    pub fn new(service: &'a dyn DocumentService) -> Self {
        Self(service)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A document's text and source.
    ///
    /// # Errors
    /// The document cannot be read.
    pub fn get(&self, index: usize) -> Result<Document> {
        self.0.document(index)
    }

    /// A document's tokens, with the special tokens that the model's tokenizer adds.
    ///
    /// # Errors
    /// The document cannot be read or tokenised.
    pub fn tokens(&self, index: usize) -> Result<Vec<u32>> {
        self.0.tokens(index)
    }
}

/// A calibration window: the tokens of one forward pass, without padding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The tokens.
    pub input_ids: Vec<u32>,
    /// Where they came from, in order.
    #[serde(default)]
    pub pieces: Vec<Piece>,
}

/// A run of a window's tokens that came from one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The document's number in the collection.
    pub document: usize,
    /// The first token's place in the document.
    pub offset: usize,
    /// How many tokens.
    pub length: usize,
}
