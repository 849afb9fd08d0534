//! Errors of calibration and evaluation data.

use super::feed::{LONGEST_ROW, LONGEST_TEXT};
use espalier_base::{cause::causes, hub::SnapshotError, interrupt::Interrupted};
use espalier_model::config::ConfigError;
use std::path::PathBuf;

/// Errors of calibration and evaluation data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// A file that does not open or cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in a format that is not read.
    #[error("{}: .{format} is not read; give .txt, .json, .jsonl or .parquet, or one of them as .gz or .zst", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The end of its name.
        format: String,
    },
    /// A packed file that is damaged, or is not what its name says.
    #[error("{} cannot be unpacked: it is damaged or cut off, or not what its name says", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that is sound, and packed in a way that is not supported.
    #[error("{} is packed in a way that is not supported: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The unsupported feature.
        what: String,
    },
    /// The content of a packed file cannot be written.
    #[error(
        "what is in {} cannot be unpacked into {}: make room there, or set TMPDIR",
        path.display(),
        folder.display()
    )]
    Unpack {
        /// The packed file.
        path: PathBuf,
        /// The folder of temporary files.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Reading was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A file without a single row, or of nothing but blanks.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are not UTF-8.
    #[error("{}, line {line}: it is not valid UTF-8", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Where in the row.
        source: std::str::Utf8Error,
    },
    /// A row that is not JSON.
    #[error("{}, line {line}: it is not valid JSON: {problem}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The problem.
        problem: String,
    },
    /// A row of another shape than those of the collection.
    #[error("{}, line {line}: expected {expected}, but found {found}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line the row begins on, from 1.
        line: u64,
        /// The expected form of a row.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// A row in which there is nothing.
    #[error("{}, line {line}: expected {expected}, but found {found}", path.display())]
    Blank {
        /// The file.
        path: PathBuf,
        /// The line the row begins on, from 1.
        line: u64,
        /// The expected form of a row.
        expected: String,
        /// The empty item.
        found: String,
    },
    /// More rows that cannot be used than are passed over.
    #[error(
        "{}: {bad} of {rows} rows cannot be used, where one in a hundred may be left out; the first: {source}",
        path.display()
    )]
    BadRows {
        /// The file.
        path: PathBuf,
        /// How many cannot be used.
        bad: u64,
        /// How many there are, as far as was read.
        rows: u64,
        /// The error of the first one.
        #[source]
        source: Box<Self>,
    },
    /// A document that is too long to be held.
    #[error(
        "{}{} is a document of {} MiB, but {} MiB is the most: divide it into several rows of JSON, or several files",
        path.display(),
        line.map_or_else(String::new, |line| format!(", line {line},")),
        bytes.map_or_else(|| "more".to_owned(), |bytes| (bytes >> 20).to_string()),
        (if line.is_some() { LONGEST_ROW } else { LONGEST_TEXT }) >> 20
    )]
    Document {
        /// The file.
        path: PathBuf,
        /// The line it begins on, from 1, in a file of rows.
        line: Option<u64>,
        /// Its length, where it is known.
        bytes: Option<u64>,
    },
    /// No data at all.
    #[error("there is no data file")]
    NoSources,
    /// A document where rows are needed.
    #[error("{} holds no rows: give .json, .jsonl or .parquet", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// A value where a row is needed.
    #[error("a row is an object, not {found}")]
    NoObject {
        /// The actual value.
        found: String,
    },
    /// A folder without a part of its data.
    #[error(
        "{} has no file of the split `{split}`, by the words in their names; there are {files}",
        path.display()
    )]
    NoSplit {
        /// The folder.
        path: PathBuf,
        /// The part.
        split: String,
        /// Files that are there.
        files: String,
    },
    /// A data set that is neither on the disk nor in the hub's cache.
    #[error(
        "there is no file or folder {id}, and no data set of that name in the Hugging Face cache ({}): download it first, for \
         example with `hf download {id} --repo-type dataset`",
        repository.display()
    )]
    NotCached {
        /// Its name.
        id: String,
        /// The folder that it would have.
        repository: PathBuf,
    },
    /// A data set of which the cache has no snapshot to use.
    #[error("the Hugging Face cache has no snapshot of the data set {id} to use; {advice}")]
    NoSnapshot {
        /// Its name.
        id: String,
        /// What to do.
        advice: String,
        /// What is missing.
        source: SnapshotError,
    },
    /// A configuration that a data set does not have.
    #[error("the data set {id} has no {config} in {}, only {found}", snapshot.display())]
    NoConfig {
        /// The data set.
        id: String,
        /// The configuration.
        config: String,
        /// The snapshot that was looked in.
        snapshot: PathBuf,
        /// What it has.
        found: String,
    },
    /// A folder of several data sets.
    #[error(
        "{}: the split `{split}` is in {} and in {}; name the folder of one data set",
        path.display(), first.display(), other.display()
    )]
    Splits {
        /// The folder.
        path: PathBuf,
        /// The part.
        split: String,
        /// The folder of its first file.
        first: PathBuf,
        /// A folder of another.
        other: PathBuf,
    },
    /// A folder without data.
    #[error("{} holds no file that ends in .{ends}", path.display())]
    NoFiles {
        /// The folder.
        path: PathBuf,
        /// The known file name endings.
        ends: String,
    },
    /// A folder of files that do not belong together.
    #[error(
        "{}: {} and {} hold rows of different shapes; give them as two sources",
        path.display(), first.display(), other.display()
    )]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// Its first file.
        first: PathBuf,
        /// A file of another shape.
        other: PathBuf,
    },
    /// A source of which nothing is left.
    #[error("{}: all of it shares text with what is excluded", path.display())]
    AllExcluded {
        /// The file or folder.
        path: PathBuf,
    },
    /// A weight that is not a share.
    #[error("{} has the weight {weight}; a weight is a number from 0", path.display())]
    Weight {
        /// The source.
        path: PathBuf,
        /// Its weight.
        weight: f64,
    },
    /// Weights of nothing.
    #[error("the weights of all sources are 0: nothing would be drawn")]
    Weights,
    /// Fields that are named wrongly.
    #[error("the fields `{text}` are not understood: {problem}")]
    Fields {
        /// The given text.
        text: String,
        /// The problem.
        problem: String,
    },
    /// A prompt without a name.
    #[error("the prompt is empty; write raw, alpaca, chat or the path of a template file")]
    Prompt,
    /// Text where tokens are needed.
    #[error("{place} is text, where `input_ids` are needed")]
    NoWindow {
        /// The record.
        place: String,
    },
    /// A record that is not there.
    #[error("there is no record {index}, only {records}")]
    NoRecord {
        /// The request.
        index: usize,
        /// How many there are.
        records: usize,
    },
    /// Tokens where text is needed.
    #[error("{place} is {found}, where text is needed")]
    NoText {
        /// The record.
        place: String,
        /// The actual value.
        found: &'static str,
    },
    /// Something else where an instruction is needed.
    #[error("{place} is {found}, which Alpaca's templates have no place for; choose another --prompt")]
    NoInstruction {
        /// The record.
        place: String,
        /// The actual value.
        found: &'static str,
    },
    /// A template file that cannot be read.
    #[error("the template {} cannot be read; a prompt is raw, alpaca, chat or a template file", path.display())]
    TemplateFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Text that is not a template.
    #[error("{} is not a template", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// Why.
        source: minijinja::Error,
    },
    /// A row that a template or an expression of a task refuses or fails on.
    #[error("{place} does not fit `{what}`: {problem}")]
    Fit {
        /// The row.
        place: String,
        /// The template's or the expression's name.
        what: String,
        /// The problem.
        problem: String,
    },
    /// A record that a template refuses or fails on.
    #[error("{place} cannot be put into the template of {}", path.display())]
    Render {
        /// The record.
        place: String,
        /// The file the template is from.
        path: PathBuf,
        /// Why.
        source: minijinja::Error,
    },
    /// A model that does not say how to converse with it.
    #[error("{} has no chat template, which conversations need; choose another --prompt", path.display())]
    NoChatTemplate {
        /// The model folder.
        path: PathBuf,
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
        /// Advice.
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
        /// The names that exist.
        rows: usize,
        /// The request.
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
}

impl CalibrationError {
    /// Whether it is the fault of one record, which can be left out.
    pub(super) fn is_of_record(&self) -> bool {
        matches!(
            self,
            Self::Render { .. }
                | Self::Fit { .. }
                | Self::Encode { .. }
                | Self::Token { .. }
                | Self::NoInstruction { .. }
        )
    }

    /// The error with all its causes, in one line.
    pub(super) fn whole(&self) -> String {
        causes(self).join(": ")
    }
}

impl From<CalibrationError> for espalier_sdk::Error {
    fn from(error: CalibrationError) -> Self {
        Self::invalid(error.whole())
    }
}
