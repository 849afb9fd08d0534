//! One pass over a file: its hash, and where its rows begin. Rows are looked at as they go by, so memory
//! holds one row and 8 bytes for each.

use super::{CalibrationError, Shape, row::RowError};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

/// What one pass over a file found.
pub(super) struct Scan {
    /// SHA-256 of the file, in hex.
    pub(super) sha256: String,
    /// The rows' shape.
    pub(super) shape: Shape,
    /// Where each row begins, and where the last one ends.
    pub(super) places: Vec<u64>,
}

/// A file's bytes, hashed as they are read.
struct Hashed {
    file: File,
    hash: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// A file that is read from front to end.
struct Source<'a> {
    path: &'a Path,
    reader: BufReader<Hashed>,
    /// Bytes read.
    offset: u64,
    /// The line of the next byte, from 1.
    line: u64,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path) -> Result<Self, CalibrationError> {
        let file =
            File::open(path).map_err(|source| CalibrationError::Read { path: path.to_owned(), source })?;
        let hashed = Hashed { file, hash: Sha256::new() };
        let mut source = Self { path, reader: BufReader::with_capacity(1 << 20, hashed), offset: 0, line: 1 };
        let unreadable = |source| CalibrationError::Read { path: path.to_owned(), source };
        if source.reader.fill_buf().map_err(unreadable)?.starts_with(b"\xEF\xBB\xBF") {
            source.reader.consume(3);
            source.offset = 3;
        }
        Ok(source)
    }

    fn unreadable(&self, source: io::Error) -> CalibrationError {
        CalibrationError::Read { path: self.path.to_owned(), source }
    }

    fn peek(&mut self) -> Result<Option<u8>, CalibrationError> {
        let byte = self.reader.fill_buf().map(|buffer| buffer.first().copied());
        byte.map_err(|source| self.unreadable(source))
    }

    fn skip(&mut self, byte: u8) {
        self.reader.consume(1);
        self.offset += 1;
        self.line += u64::from(byte == b'\n');
    }

    /// The next byte that is no white space, left in place.
    fn next_visible(&mut self) -> Result<Option<u8>, CalibrationError> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.skip(byte);
        }
        Ok(None)
    }

    /// The rest of the line with its end.
    fn line(&mut self, row: &mut Vec<u8>) -> Result<(), CalibrationError> {
        row.clear();
        let count = self.reader.read_until(b'\n', row).map_err(|source| self.unreadable(source))?;
        self.offset += count as u64;
        self.line += u64::from(row.ends_with(b"\n"));
        Ok(())
    }

    /// An object, from its brace to the one that closes it. What lies between is only looked at for
    /// braces and strings.
    fn object(&mut self, row: &mut Vec<u8>) -> Result<(), CalibrationError> {
        row.clear();
        let (mut depth, mut string, mut escaped) = (0u32, false, false);
        while let Some(byte) = self.peek()? {
            self.skip(byte);
            row.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if string => escaped = true,
                b'"' => string = !string,
                b'{' | b'[' if !string => depth += 1,
                b'}' | b']' if !string => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        Ok(())
    }

    fn json(&self, problem: String) -> CalibrationError {
        CalibrationError::Json { path: self.path.to_owned(), line: self.line, problem }
    }

    /// The hash of the whole file.
    fn finish(self) -> String {
        hex(self.reader.into_inner().hash)
    }
}

/// A hash in hex.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a file of plain text: one document.
pub(super) fn text(path: &Path) -> Result<Scan, CalibrationError> {
    let unreadable = |source| CalibrationError::Read { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let mut hash = Sha256::new();
    hash.update(&bytes);
    let body = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let text = utf8(path, body, 1)?;
    if text.trim().is_empty() {
        return Err(CalibrationError::Empty { path: path.to_owned() });
    }
    let (begin, end) = ((bytes.len() - body.len()) as u64, bytes.len() as u64);
    Ok(Scan { sha256: hex(hash), shape: Shape::Plain, places: vec![begin, end] })
}

fn utf8<'a>(path: &Path, bytes: &'a [u8], line: u64) -> Result<&'a str, CalibrationError> {
    std::str::from_utf8(bytes).map_err(|source| {
        let line = line + newlines(&bytes[..source.valid_up_to()]);
        CalibrationError::Utf8 { path: path.to_owned(), line, source }
    })
}

/// How many lines end in these bytes.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Reads a file of JSON rows: a list of objects, or one object a line. Every row is checked.
pub(super) fn rows(path: &Path) -> Result<Scan, CalibrationError> {
    let mut source = Source::open(path)?;
    let mut found = Found { path, shape: None, places: Vec::new() };
    match source.next_visible()? {
        None => return Err(CalibrationError::Empty { path: path.to_owned() }),
        Some(b'[') => list(&mut source, &mut found)?,
        Some(_) => lines(&mut source, &mut found)?,
    }
    let Some(shape) = found.shape else { return Err(CalibrationError::Empty { path: path.to_owned() }) };
    let mut places = found.places;
    places.push(source.offset);
    places.shrink_to_fit();
    Ok(Scan { sha256: source.finish(), shape, places })
}

/// The rows found so far.
struct Found<'a> {
    path: &'a Path,
    shape: Option<Shape>,
    places: Vec<u64>,
}

impl Found<'_> {
    fn add(&mut self, offset: u64, line: u64, bytes: &[u8]) -> Result<(), CalibrationError> {
        utf8(self.path, bytes, line)?;
        let shape = match self.shape {
            Some(shape) => shape,
            None => Shape::of(bytes).map_err(|error| located(self.path, line, error))?,
        };
        shape.read(bytes).map_err(|error| located(self.path, line, error))?;
        self.shape = Some(shape);
        self.places.push(offset);
        Ok(())
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
    }
}

fn lines(source: &mut Source, found: &mut Found) -> Result<(), CalibrationError> {
    let mut row = Vec::new();
    while source.next_visible()?.is_some() {
        let (offset, line) = (source.offset, source.line);
        source.line(&mut row)?;
        found.add(offset, line, &row)?;
        // One object a line, and nothing after it.
        let mut values = serde_json::Deserializer::from_slice(&row).into_iter::<serde::de::IgnoredAny>();
        values.next();
        if !row[values.byte_offset()..].iter().all(u8::is_ascii_whitespace) {
            let problem = "something follows the row; rows stand one a line, or in a list".to_owned();
            return Err(CalibrationError::Json { path: source.path.to_owned(), line, problem });
        }
    }
    Ok(())
}

fn list(source: &mut Source, found: &mut Found) -> Result<(), CalibrationError> {
    source.skip(b'[');
    let mut row = Vec::new();
    let mut first = true;
    loop {
        match source.next_visible()? {
            Some(b']') if first => break,
            Some(b'{') => {
                let (offset, line) = (source.offset, source.line);
                source.object(&mut row)?;
                found.add(offset, line, &row)?;
            }
            Some(byte) => {
                let problem = format!("a row should begin with `{{`, not `{}`", byte.escape_ascii());
                return Err(source.json(problem));
            }
            None => return Err(source.json("the list does not end".to_owned())),
        }
        first = false;
        match source.next_visible()? {
            Some(b',') => source.skip(b','),
            Some(b']') => break,
            Some(byte) => {
                let problem = format!("`,` or `]` should follow a row, not `{}`", byte.escape_ascii());
                return Err(source.json(problem));
            }
            None => return Err(source.json("the list does not end".to_owned())),
        }
    }
    source.skip(b']');
    match source.next_visible()? {
        None => Ok(()),
        Some(_) => Err(source.json("something follows the list".to_owned())),
    }
}
