//! A file whose rows were found.

use super::{
    CalibrationError, Record, Shape, Skipped,
    feed::newlines,
    row::Layout,
    scan::{self, How, Place, Scan, Target},
    unpack::{Data, end_of, unpack},
};
use espalier_base::files;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Formats that are known and not read.
const UNREAD: [&str; 6] = ["arrow", "bz2", "xz", "zip", "csv", "tsv"];

/// A file whose rows were found.
#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    /// The unpacked data, if the file is packed.
    unpacked: Option<Data>,
    sha256: String,
    /// How rows are read; nothing for a file that is one document.
    layout: Option<Layout>,
    places: Vec<Place>,
    end: u64,
    skipped: Skipped,
}

impl DataFile {
    /// Reads a file once and checks every row of it.
    pub(super) fn open(path: &Path, how: &How) -> Result<Self, CalibrationError> {
        let unpacked = unpack(path)?;
        let end = unpacked.as_ref().map_or_else(|| end_of(path), |unpacked| unpacked.end.clone());
        if UNREAD.contains(&end.as_str()) {
            return Err(CalibrationError::Format { path: path.to_owned(), format: end });
        }
        let (unpacked, packed) = unpacked.map(|file| (file.data, file.sha256)).unzip();
        let target = Target { path, data: unpacked.as_deref().unwrap_or(path), hashed: packed.is_none() };
        let Scan { sha256, layout, places, end, skipped } = match end.as_str() {
            "json" | "jsonl" | "ndjson" => scan::rows(&target, how)?,
            _ => scan::text(&target, how)?,
        };
        let sha256 = sha256.or(packed).unwrap_or_default();
        Ok(Self { path: path.to_owned(), unpacked, sha256, layout, places, end, skipped })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(super) fn shape(&self) -> Shape {
        self.layout.as_ref().map_or(Shape::Plain, Layout::shape)
    }

    pub(super) fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// How many records.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Opens it again, for [`record`](Self::record).
    pub(super) fn reopen(&self) -> Result<File, CalibrationError> {
        files::open(self.unpacked.as_deref().unwrap_or(&self.path)).map_err(|source| self.unreadable(source))
    }

    /// A record of this file, which was opened again.
    pub(super) fn record(&self, index: usize, file: &mut File) -> Result<Record, CalibrationError> {
        let changed = || CalibrationError::Changed { path: self.path.clone() };
        let place = self.places.get(index).copied().ok_or_else(changed)?;
        let begin = place.offset();
        // The records of one row stand at the same place.
        let next = self.places[index..].iter().find(|next| next.offset() != begin);
        let end = next.map_or(self.end, |next| next.offset());
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(begin)).map_err(|_| changed())?];
        file.seek(SeekFrom::Start(begin))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| self.unreadable(source))?;
        let Some(layout) = &self.layout else {
            return String::from_utf8(bytes).map(Record::Text).map_err(|_| changed());
        };
        // It was read once already, so that only a changed file can fail now. What follows the row may be
        // one that was left out.
        let valid = std::str::from_utf8(&bytes)
            .unwrap_or_else(|error| std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default());
        let mut records = layout.read(valid).map_err(|_| changed())?;
        if place.part() >= records.len() {
            return Err(changed());
        }
        Ok(records.swap_remove(place.part()))
    }

    /// Where a record is, for messages: the file and line.
    pub(super) fn place(&self, index: usize) -> String {
        if self.layout.is_none() {
            return self.path.display().to_string();
        }
        match self.line(index) {
            Some(line) => format!("{}, line {line}", self.path.display()),
            None => format!("{}, row {}", self.path.display(), index + 1),
        }
    }

    /// A record's line, from 1. Counted when asked for, which is when something is wrong.
    fn line(&self, index: usize) -> Option<u64> {
        let mut left = self.places.get(index)?.offset();
        let mut file = self.reopen().ok()?;
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

    fn unreadable(&self, source: std::io::Error) -> CalibrationError {
        CalibrationError::Read { path: self.path.clone(), source }
    }
}
