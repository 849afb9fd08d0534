//! The study file: parsed with every value's place, then checked against the machine it is to run on.

mod calibration;
mod reader;
mod spec;
#[cfg(test)]
mod tests;

pub(super) use calibration::CalibrationSpec;
pub(super) use reader::{At, Problem};
pub use spec::KeepModels;
pub(super) use spec::{ChatSpec, EvaluationData, EvaluationSpec, MethodSpec, ModelSpec, ReadingSpec, Spec};

use super::{Result, StudyError};
use espalier_base::{
    files::{self, Limit},
    text::line_and_column,
};
use std::path::{Path, PathBuf};

/// A study file that parses; what it names has not been looked for.
#[derive(Debug, Clone)]
pub struct StudyFile {
    path: PathBuf,
    text: String,
    pub(super) spec: Spec,
}

impl StudyFile {
    /// Reads a study file.
    ///
    /// # Errors
    /// It cannot be read or parse, has a key that is not known, or a value of another kind than is due; the
    /// message has the line and column.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path, Limit::SETTINGS)
            .map_err(|source| StudyError::Read { path: path.to_owned(), source })?;
        Self::parse(path, text)
    }

    /// A study file with this text.
    ///
    /// # Errors
    /// As [`StudyFile::read`].
    pub fn parse(path: &Path, text: String) -> Result<Self> {
        let spec = Spec::parse(&text).map_err(|problem| place(path, &text, problem))?;
        Ok(Self { path: path.to_owned(), text, spec })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A path as the file means it: relative to the folder that the file is in.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// A problem with its line and column.
    pub(super) fn error(&self, problem: Problem) -> StudyError {
        place(&self.path, &self.text, problem)
    }
}

/// A problem with its line and column.
fn place(path: &Path, text: &str, problem: Problem) -> StudyError {
    let Problem { span, message, source } = problem;
    let (line, column) = line_and_column(text, span.start);
    StudyError::File { path: path.to_owned(), line, column, message, source }
}
