//! One pass over a file: its hash, and where its rows begin. Rows are looked at as they go by, so memory
//! holds one row and 8 bytes for each.

use super::{
    CalibrationError, Reading, Skipped,
    exclude::Exclusion,
    feed::{Feed, LONGEST_TEXT, newlines},
    row::{Layout, RowError},
};
use espalier_base::{files, hash::hex};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// Rows that may be wrong before most of them must be right.
const PATIENCE: u64 = 100;

/// Of this many rows one may be wrong.
pub(super) const ONE_IN: u64 = 100;

/// The result of one pass over a file.
pub(super) struct Scan {
    /// SHA-256 of the file, in hex, if it was to be hashed.
    pub(super) sha256: Option<String>,
    /// How the rows are read; nothing for a file that is one document.
    pub(super) layout: Option<Layout>,
    /// The records.
    pub(super) places: Vec<Place>,
    /// Where the last row ends.
    pub(super) end: u64,
    /// The rows that were left out.
    pub(super) skipped: Skipped,
}

/// Where a record is: the row it stands in, and which of the row's records it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Place {
    /// Bits for the number of the record in its row.
    const PART_BITS: u32 = 16;

    /// The records of a row that is not split further than this.
    const PARTS: usize = 1 << Self::PART_BITS;

    fn new(offset: u64, part: usize) -> Self {
        Self(offset << Self::PART_BITS | part as u64)
    }

    /// Where the row begins in its file.
    pub(super) fn offset(self) -> u64 {
        self.0 >> Self::PART_BITS
    }

    /// Which record of the row it is.
    pub(super) fn part(self) -> usize {
        (self.0 & (Self::PARTS as u64 - 1)) as usize
    }
}

/// What is made of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Text that is not empty.
    Visible,
    /// Text; it may be empty.
    Text,
    /// The rows as they are.
    Rows,
}

/// How files are read.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) reading: &'a Reading,
    pub(super) exclusion: Option<&'a Exclusion>,
    pub(super) wanted: Wanted,
}

/// A file to be read: `data`, which messages call `path`.
pub(super) struct Target<'a> {
    pub(super) path: &'a Path,
    pub(super) data: &'a Path,
    /// Whether to hash it.
    pub(super) hashed: bool,
}

/// Reads a file of plain text: one document.
pub(super) fn text(target: &Target, how: &How) -> Result<Scan, CalibrationError> {
    let path = || target.path.to_owned();
    let unreadable = |source| CalibrationError::Read { path: path(), source };
    let file = files::open(target.data).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > LONGEST_TEXT as u64 {
        return Err(CalibrationError::Document { path: path(), line: None, bytes: Some(length) });
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_TEXT as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    let body = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let text = utf8(body).map_err(|(further, source)| CalibrationError::Utf8 {
        path: path(),
        line: 1 + further,
        source,
    })?;
    if text.trim().is_empty() {
        return Err(CalibrationError::Empty { path: path() });
    }
    let mut skipped = Skipped::default();
    let mut places = vec![Place::new((bytes.len() - body.len()) as u64, 0)];
    if how.exclusion.is_some_and(|exclusion| exclusion.meets(&[text])) {
        skipped.excluded = 1;
        places.clear();
    }
    let sha256 = target.hashed.then(|| {
        let mut hash = Sha256::new();
        hash.update(&bytes);
        hex(hash)
    });
    Ok(Scan { sha256, layout: None, places, end: bytes.len() as u64, skipped })
}

/// The text of these bytes; else, how many lines in the problem is, and what.
fn utf8(bytes: &[u8]) -> Result<&str, (u64, std::str::Utf8Error)> {
    std::str::from_utf8(bytes).map_err(|source| (newlines(&bytes[..source.valid_up_to()]), source))
}

/// Reads a file of JSON rows: a list of objects, or one object a line. Every row is checked.
pub(super) fn rows(target: &Target, how: &How) -> Result<Scan, CalibrationError> {
    let mut feed = Feed::open(target.path, target.data, target.hashed)?;
    let mut found = FoundRow {
        path: target.path,
        how,
        layout: None,
        places: Vec::new(),
        rows: 0,
        skipped: Skipped::default(),
        first: None,
    };
    match feed.visible()? {
        None => return Err(CalibrationError::Empty { path: target.path.to_owned() }),
        Some(b'[') => list(&mut feed, &mut found)?,
        Some(_) => lines(&mut feed, &mut found)?,
    }
    let end = feed.offset();
    found.finish(feed.finish()?, end)
}

/// The rows found so far.
struct FoundRow<'a> {
    path: &'a Path,
    how: &'a How<'a>,
    layout: Option<Layout>,
    places: Vec<Place>,
    /// All rows, the ones left out with them.
    rows: u64,
    skipped: Skipped,
    /// The error of the first row that was skipped.
    first: Option<CalibrationError>,
}

impl FoundRow<'_> {
    fn add(
        &mut self,
        offset: u64,
        line: u64,
        bytes: &[u8],
        on_its_line: bool,
    ) -> Result<(), CalibrationError> {
        self.rows += 1;
        match self.read(line, bytes, on_its_line) {
            Ok(parts) => {
                self.places.extend(parts.into_iter().map(|part| Place::new(offset, part)));
                Ok(())
            }
            Err(error) => self.leave_out(error),
        }
    }

    /// The records of a row that are used.
    fn read(&mut self, line: u64, bytes: &[u8], on_its_line: bool) -> Result<Vec<usize>, CalibrationError> {
        let path = self.path;
        let located = |error| located(path, line, error);
        let row = utf8(bytes).map_err(|(further, source)| CalibrationError::Utf8 {
            path: path.to_owned(),
            line: line + further,
            source,
        })?;
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => Layout::of(row, self.how.reading.fields.as_ref(), self.how.wanted).map_err(located)?,
        };
        let read = if on_its_line { layout.read_line(row) } else { layout.read(row) };
        // A row of no use does not say what shape the others have.
        if !self.places.is_empty() || read.is_ok() {
            self.layout = Some(layout);
        }
        let records = read.map_err(located)?;
        if records.len() > Place::PARTS {
            let found = format!("{} instances in one row", records.len());
            let expected = format!("at most {}", Place::PARTS);
            return Err(located(RowError::Shape { expected, found }));
        }
        let all = 0..records.len();
        let Some(exclusion) = self.how.exclusion else { return Ok(all.collect()) };
        let kept: Vec<usize> = all.filter(|&part| !exclusion.meets(&records[part].texts())).collect();
        self.skipped.excluded += (records.len() - kept.len()) as u64;
        Ok(kept)
    }

    fn leave_out(&mut self, error: CalibrationError) -> Result<(), CalibrationError> {
        if self.how.reading.strict {
            return Err(error);
        }
        match &error {
            CalibrationError::Blank { .. } => self.skipped.blank += 1,
            _ => self.skipped.bad += 1,
        }
        let first_is_blank = matches!(self.first, Some(CalibrationError::Blank { .. }));
        if self.first.is_none() || first_is_blank && !matches!(error, CalibrationError::Blank { .. }) {
            self.first = Some(error);
        }
        if self.skipped.bad >= PATIENCE && self.skipped.bad * 2 > self.rows {
            return Err(self.refused());
        }
        Ok(())
    }

    /// The error of a file of which too much is wrong.
    fn refused(&mut self) -> CalibrationError {
        let (path, bad) = (self.path.to_owned(), self.skipped.bad.max(self.skipped.blank));
        match self.first.take() {
            None => CalibrationError::Empty { path },
            Some(first) if bad == 1 => first,
            Some(first) => CalibrationError::BadRows { path, bad, rows: self.rows, source: Box::new(first) },
        }
    }

    fn finish(mut self, sha256: Option<String>, end: u64) -> Result<Scan, CalibrationError> {
        let usable = self.layout.is_some() && (!self.places.is_empty() || self.skipped.excluded > 0);
        if !usable || self.skipped.bad * ONE_IN > self.rows {
            return Err(self.refused());
        }
        if let Some(first) = &self.first {
            let (bad, blank) = (self.skipped.bad, self.skipped.blank);
            tracing::warn!(
                "{}: {bad} bad and {blank} empty rows are left out; the first: {first}",
                self.path.display()
            );
        }
        if self.skipped.excluded > 0 {
            let excluded = self.skipped.excluded;
            tracing::warn!(
                "{}: {excluded} rows share text with what is excluded and are left out",
                self.path.display()
            );
        }
        let Self { layout, mut places, skipped, .. } = self;
        places.shrink_to_fit();
        Ok(Scan { sha256, layout, places, end, skipped })
    }
}

/// A row's error with its file and line.
fn located(path: &Path, line: u64, error: RowError) -> CalibrationError {
    let path = path.to_owned();
    match error {
        RowError::Json { line: further, problem } => {
            CalibrationError::Json { path, line: line + further, problem }
        }
        RowError::Shape { expected, found } => CalibrationError::Row { path, line, expected, found },
        RowError::Blank { expected, found } => CalibrationError::Blank { path, line, expected, found },
    }
}

fn lines(feed: &mut Feed, found: &mut FoundRow) -> Result<(), CalibrationError> {
    while feed.visible()?.is_some() {
        let (offset, line) = (feed.offset(), feed.line());
        found.add(offset, line, feed.rest_of_line()?, true)?;
    }
    Ok(())
}

fn list(feed: &mut Feed, found: &mut FoundRow) -> Result<(), CalibrationError> {
    feed.next();
    let mut first = true;
    loop {
        match feed.visible()? {
            Some(b']') if first => break,
            Some(b'{') => {
                let (offset, line) = (feed.offset(), feed.line());
                found.add(offset, line, feed.object()?, false)?;
            }
            Some(byte) => {
                let problem = format!("a row should begin with `{{`, not `{}`", byte.escape_ascii());
                return Err(broken(found.path, feed, problem));
            }
            None => return Err(broken(found.path, feed, "the list does not end")),
        }
        first = false;
        match feed.visible()? {
            Some(b',') => feed.next(),
            Some(b']') => break,
            Some(byte) => {
                let problem = format!("`,` or `]` should follow a row, not `{}`", byte.escape_ascii());
                return Err(broken(found.path, feed, problem));
            }
            None => return Err(broken(found.path, feed, "the list does not end")),
        }
    }
    feed.next();
    match feed.visible()? {
        None => Ok(()),
        Some(_) => Err(broken(found.path, feed, "something follows the list")),
    }
}

/// A list that cannot be followed further.
fn broken(path: &Path, feed: &Feed, problem: impl Into<String>) -> CalibrationError {
    CalibrationError::Json { path: path.to_owned(), line: feed.line(), problem: problem.into() }
}
