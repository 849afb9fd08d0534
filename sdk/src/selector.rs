//! Calibration-set selectors.

use crate::options::option_builders;
use crate::{Allowed, Documents, LanguageModel, OptionKind, OptionSpec, Options, Result, Windows};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A way of choosing calibration data from a collection of documents.
///
/// A selector says which documents, in its order of preference; the host cuts windows of them, by crops, by
/// packing or one document a window, as the user wants them.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// /// Takes the longest documents.
/// struct Longest;
///
/// impl Selector for Longest {
///     fn info() -> SelectorInfo {
///         SelectorInfo::new("longest", "takes the longest documents")
///     }
///
///     fn new(_: &Options) -> Result<Self> {
///         Ok(Self)
///     }
///
///     fn select(
///         &self,
///         documents: &Documents,
///         _: &LanguageModel,
///         _: &SelectionRequest,
///         windows: &mut Windows,
///     ) -> Result<()> {
///         let length = |index| Ok((documents.tokens(index)?.len(), index));
///         let mut order = (0..documents.len()).map(length).collect::<Result<Vec<_>>>()?;
///         order.sort_by_key(|&(length, _)| std::cmp::Reverse(length));
///         for (length, index) in order {
///             if !windows.wanted() {
///                 break;
///             }
///             windows.offer(index, Some(length as f64))?;
///         }
///         Ok(())
///     }
/// }
/// # fn main() -> Result<()> {
/// let request = SelectionRequest { samples: 2, seqlen: 8, seed: 0 };
/// assert_eq!(testing::select::<Longest>(&[], &["a", "abc", "ab"], &request)?, [1, 2]);
/// # Ok(())
/// # }
/// ```
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
        model: &LanguageModel,
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

    option_builders!();
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
