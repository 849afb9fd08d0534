//! What can be wrong with calibration data.

use crate::model::config::ConfigError;
use std::path::PathBuf;

/// What can be wrong with calibration data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// A file that does not open or does not read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in a format that is not read.
    #[error("{}: .{format} is not read; give .txt, .json or .jsonl", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The end of its name.
        format: String,
    },
    /// A file without a single row, or of nothing but blanks.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are no UTF-8.
    #[error("{}, line {line}: it is not valid UTF-8", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Where in the row.
        source: std::str::Utf8Error,
    },
    /// A row that is no JSON.
    #[error("{}, line {line}: it is not valid JSON: {problem}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A row of another shape than those of the collection.
    #[error("{}, line {line}: expected {expected}, but found {found}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line the row begins on, from 1.
        line: u64,
        /// What a row should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A file that is not what it was when its rows were found.
    #[error("{} changed while it was being read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Text to tokenise, and no tokenizer.
    #[error("{} holds no tokenizer.json, which text needs; {hint}", path.display())]
    NoTokenizer {
        /// The model folder.
        path: PathBuf,
        /// What to do.
        hint: String,
    },
    /// A tokenizer that does not load.
    #[error("{} is not usable", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A configuration that is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A text that does not tokenise.
    #[error("{place} cannot be tokenised")]
    Encode {
        /// The document.
        place: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A token that the model does not know.
    #[error(
        "{place} has the token {token}, but the model's vocabulary ends at {}: they do not belong together",
        vocab_size.saturating_sub(1)
    )]
    Token {
        /// The document, window or text.
        place: String,
        /// The token.
        token: u32,
        /// The size of the model's vocabulary.
        vocab_size: usize,
    },
    /// A ready window that does not fit.
    #[error("{place} has {length} tokens, but {limit} is the most here: raise --seqlen or cut it")]
    TooLong {
        /// The window.
        place: String,
        /// Its tokens.
        length: usize,
        /// The most there may be.
        limit: usize,
    },
    /// Fewer rows than were asked for.
    #[error("{} has {rows} windows, but --samples asks for {samples}", path.display())]
    TooFew {
        /// The file.
        path: PathBuf,
        /// What it has.
        rows: usize,
        /// What was asked for.
        samples: usize,
    },
    /// Too little text to evaluate on.
    #[error("{} has {tokens} tokens; at least 2 are needed to predict one from another", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its tokens.
        tokens: usize,
    },
    /// A selector that broke its contract.
    #[error("the selector {selector} gave back {problem}")]
    Selection {
        /// The selector.
        selector: String,
        /// What is wrong with its windows.
        problem: String,
    },
}

impl From<CalibrationError> for espalier_sdk::Error {
    fn from(error: CalibrationError) -> Self {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::invalid(message)
    }
}
