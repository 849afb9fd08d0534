//! Calibration or evaluation data: files and folders, of which any record can be read.

use super::{
    CalibrationError, Reading, Record, Shape, Source,
    exclude::Exclusion,
    file::DataFile,
    folder,
    scan::{How, Wanted},
    source::check_weights,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    ops::Range,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Files and folders of data, each record of which has a number.
///
/// `.json`, `.jsonl` and `.ndjson` hold rows, in a list or one a line; any other file is one document of
/// plain text. Opening reads every file once and checks every row; after that, rows are read again when
/// they are asked for.
#[derive(Debug)]
pub struct Collection {
    sources: Vec<SourceInfo>,
    files: Vec<DataFile>,
    /// The number of each file's first record, and the number of all records.
    starts: Vec<usize>,
    /// Whether a record that cannot be used is an error.
    strict: bool,
    /// The file that was read last.
    opened: Mutex<Option<(usize, File)>>,
}

/// A file or folder of a collection.
#[derive(Debug, Clone, Serialize)]
pub struct SourceInfo {
    /// The file or folder.
    pub path: PathBuf,
    /// The file's SHA-256, in hex. A folder's is that of the lines that `sha256sum` writes for its files,
    /// named from the folder and in the order they are read in.
    pub sha256: String,
    /// The weight that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The numbers of its records.
    pub documents: Range<usize>,
    /// The shape of its rows.
    pub shape: Shape,
    /// The rows that were left out.
    pub skipped: Skipped,
}

/// Rows that are left out of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Rows that could not be read.
    pub bad: u64,
    /// Rows in which there is nothing.
    pub blank: u64,
    /// Rows that share text with what is excluded.
    pub excluded: u64,
}

impl Skipped {
    fn add(&mut self, other: Self) {
        self.bad += other.bad;
        self.blank += other.blank;
        self.excluded += other.excluded;
    }
}

impl Collection {
    /// Opens files and folders and checks every row of them.
    ///
    /// Where a row cannot be used it is left out, counted and warned of. A file of which more than one row
    /// in a hundred is wrong is refused; when [strict](Reading::strict), any row is enough.
    ///
    /// # Errors
    /// A file cannot be read, is empty, is in a format that is not read, is neither a JSON list nor rows, or has
    /// too many rows that cannot be used: the message names the line of the first. No files, or weights
    /// that are not shares of anything.
    pub fn open(sources: &[Source], reading: &Reading) -> Result<Self, CalibrationError> {
        Self::read(sources, reading, Wanted::Visible)
    }

    /// Opens data to evaluate on: as [`open`](Self::open), but rows of empty text are kept, because the text that all rows
    /// make together is measured.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for_evaluation(sources: &[Source], reading: &Reading) -> Result<Self, CalibrationError> {
        Self::read(sources, reading, Wanted::Text)
    }

    /// Opens rows of any fields, each a [`Record::Row`].
    ///
    /// # Errors
    /// As [`open`](Self::open), or a file that holds no rows.
    pub fn open_rows(sources: &[Source], reading: &Reading) -> Result<Self, CalibrationError> {
        let collection = Self::read(sources, reading, Wanted::Rows)?;
        match collection.files.iter().find(|file| file.shape() != Shape::Row) {
            None => Ok(collection),
            Some(file) => Err(CalibrationError::NoRows { path: file.path().to_owned() }),
        }
    }

    fn read(sources: &[Source], reading: &Reading, wanted: Wanted) -> Result<Self, CalibrationError> {
        check_weights(sources)?;
        if sources.is_empty() {
            return Err(CalibrationError::NoSources);
        }
        let exclusion = Exclusion::open(&reading.exclude)?;
        let mut collection = Self {
            sources: Vec::new(),
            files: Vec::new(),
            starts: vec![0],
            strict: reading.strict,
            opened: Mutex::new(None),
        };
        for source in sources {
            collection.add(source, &How { reading, exclusion: exclusion.as_ref(), wanted })?;
        }
        Ok(collection)
    }

    fn add(&mut self, source: &Source, how: &How) -> Result<(), CalibrationError> {
        let begin = self.len();
        let opened = folder::open(&source.path, how)?;
        let mut skipped = Skipped::default();
        for file in opened.files {
            skipped.add(file.skipped());
            self.starts.push(self.len() + file.len());
            self.files.push(file);
        }
        let documents = begin..self.len();
        if documents.is_empty() {
            return Err(CalibrationError::AllExcluded { path: source.path.clone() });
        }
        self.sources.push(SourceInfo {
            path: source.path.clone(),
            sha256: opened.sha256,
            weight: source.weight,
            documents,
            shape: opened.shape,
            skipped,
        });
        Ok(())
    }

    /// The files and folders, in the order they were given in.
    pub fn sources(&self) -> &[SourceInfo] {
        &self.sources
    }

    /// Whether a record that cannot be used is an error.
    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Whether it is empty; a collection that opened is not.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all records are windows of tokens, ready to be used as they are.
    pub fn has_windows(&self) -> bool {
        self.sources.iter().all(|source| source.shape == Shape::Windows)
    }

    /// A record, by its number.
    ///
    /// # Errors
    /// No such record, or a file that changed.
    pub fn record(&self, index: usize) -> Result<Record, CalibrationError> {
        let (number, within) = self.file_of(index)?;
        let file = &self.files[number];
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.as_ref().is_none_or(|(which, _)| *which != number) {
            *opened = Some((number, file.reopen()?));
        }
        let Some((_, handle)) = opened.as_mut() else {
            return Err(CalibrationError::Changed { path: file.path().to_owned() });
        };
        file.record(within, handle)
    }

    /// Where a record is, for messages: its file and line.
    pub fn place(&self, index: usize) -> String {
        match self.file_of(index) {
            Ok((number, within)) => self.files[number].place(within),
            Err(error) => error.to_string(),
        }
    }

    /// Which of the [sources](Self::sources) a record is from.
    pub fn source_of(&self, index: usize) -> usize {
        self.sources.partition_point(|source| source.documents.end <= index)
    }

    /// The file of a record, and the record's number in it.
    fn file_of(&self, index: usize) -> Result<(usize, usize), CalibrationError> {
        let number = self.starts.partition_point(|&start| start <= index);
        if number == 0 || number > self.files.len() {
            return Err(CalibrationError::NoRecord { index, records: self.len() });
        }
        Ok((number - 1, index - self.starts[number - 1]))
    }
}

#[cfg(test)]
#[path = "collection_tests.rs"]
mod tests;
