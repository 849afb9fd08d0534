//! A file of calibration or evaluation data.

use super::{
    CalibrationError, Shape,
    row::Row,
    scan::{self, Scan, newlines},
};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Formats that are known and not read.
const UNREAD: [&str; 9] = ["parquet", "arrow", "gz", "zst", "bz2", "xz", "zip", "csv", "tsv"];

/// A file of documents or of ready windows.
///
/// `.json`, `.jsonl` and `.ndjson` hold rows, in a list or one a line; any other file is one document of
/// plain text. Opening reads the file once and checks every row; after that, rows are read again when
/// they are asked for.
#[derive(Debug)]
pub struct Collection {
    path: PathBuf,
    sha256: String,
    shape: Shape,
    places: Vec<u64>,
    file: Mutex<File>,
}

impl Collection {
    /// Opens a file and checks every row of it.
    ///
    /// # Errors
    /// The file does not read, is empty, is in a format that is not read, is no UTF-8 or no JSON, or a row
    /// is blank or of another shape than the first; the message names the line.
    pub fn open(path: &Path) -> Result<Self, CalibrationError> {
        let end = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
        if UNREAD.contains(&end.as_str()) {
            return Err(CalibrationError::Format { path: path.to_owned(), format: end });
        }
        let Scan { sha256, shape, places } = match end.as_str() {
            "json" | "jsonl" | "ndjson" => scan::rows(path)?,
            _ => scan::text(path)?,
        };
        let file =
            File::open(path).map_err(|source| CalibrationError::Read { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), sha256, shape, places, file: Mutex::new(file) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's SHA-256, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The shape of the rows.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.places.len() - 1
    }

    /// Whether there are none; a collection that opened has some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the rows are windows of tokens, ready to be used as they are.
    pub fn has_windows(&self) -> bool {
        self.shape == Shape::Windows
    }

    /// The text of a row; instructions as Alpaca's template renders them with their answer.
    ///
    /// # Errors
    /// No such row, rows that hold no text, or a file that changed.
    pub fn text(&self, index: usize) -> Result<String, CalibrationError> {
        match self.row(index)? {
            Row::Text(text) => Ok(text),
            Row::Window(_) => Err(self.unlike("text", "token numbers")),
        }
    }

    /// The tokens of a row that is a window, masked ones dropped.
    ///
    /// # Errors
    /// No such row, rows that are no windows, or a file that changed.
    pub fn window(&self, index: usize) -> Result<Vec<u32>, CalibrationError> {
        match self.row(index)? {
            Row::Window(tokens) => Ok(tokens),
            Row::Text(_) => Err(self.unlike("`input_ids`", "text")),
        }
    }

    /// Where a row is, for messages: its file and line.
    pub fn place(&self, index: usize) -> String {
        if self.shape == Shape::Plain {
            return self.path.display().to_string();
        }
        match self.line(index) {
            Some(line) => format!("{}, line {line}", self.path.display()),
            None => format!("{}, row {}", self.path.display(), index + 1),
        }
    }

    fn row(&self, index: usize) -> Result<Row, CalibrationError> {
        let (Some(&begin), Some(&end)) = (self.places.get(index), self.places.get(index + 1)) else {
            let problem = std::io::Error::other(format!("it has no row {index}, only {}", self.len()));
            return Err(CalibrationError::Read { path: self.path.clone(), source: problem });
        };
        let changed = || CalibrationError::Changed { path: self.path.clone() };
        let mut bytes = vec![0; usize::try_from(end - begin).map_err(|_| changed())?];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(begin))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|source| CalibrationError::Read { path: self.path.clone(), source })?;
        }
        if self.shape == Shape::Plain {
            return String::from_utf8(bytes).map(Row::Text).map_err(|_| changed());
        }
        // It was read once already, so that only a changed file can fail now.
        self.shape.read(&bytes).map_err(|_| changed())
    }

    /// A row's line, from 1. Counted when asked for, which is when something is wrong.
    fn line(&self, index: usize) -> Option<u64> {
        let mut left = *self.places.get(index)?;
        let mut file = File::open(&self.path).ok()?;
        let mut buffer = vec![0; 1 << 16];
        let mut line = 1;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = file.read(&mut buffer[..wanted]).ok().filter(|&count| count > 0)?;
            line += newlines(&buffer[..count]);
            left -= count as u64;
        }
        Some(line)
    }

    fn unlike(&self, expected: &str, found: &str) -> CalibrationError {
        CalibrationError::Row {
            path: self.path.clone(),
            line: 1,
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}

#[cfg(test)]
#[path = "collection_tests.rs"]
mod tests;
