//! A file that is read once from front to end, and hashed as it goes by.

use super::CalibrationError;
use espalier_base::{files, hash::hex, interrupt};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The longest row, in bytes. A row is held in memory.
pub(super) const LONGEST_ROW: usize = 64 << 20;

/// The longest file that is one document, in bytes.
pub(super) const LONGEST_TEXT: usize = 1 << 30;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// The mark that some editors begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A file's bytes as they go by.
pub(super) struct Feed {
    path: PathBuf,
    file: File,
    hash: Option<Sha256>,
    buffer: Vec<u8>,
    /// The part of the buffer that is not read yet.
    begin: usize,
    end: usize,
    /// Where in the file `begin` is.
    offset: u64,
    /// The line of `begin`, from 1.
    line: u64,
}

impl Feed {
    /// Opens `data`, which messages call `path`.
    pub(super) fn open(path: &Path, data: &Path, hashed: bool) -> Result<Self, CalibrationError> {
        let file =
            files::open(data).map_err(|source| CalibrationError::Read { path: path.to_owned(), source })?;
        let mut feed = Self {
            path: path.to_owned(),
            file,
            hash: hashed.then(Sha256::new),
            buffer: vec![0; CHUNK],
            begin: 0,
            end: 0,
            offset: 0,
            line: 1,
        };
        while feed.end < BYTE_ORDER_MARK.len() && feed.more()? {}
        if feed.buffer[..feed.end].starts_with(BYTE_ORDER_MARK) {
            feed.skip(BYTE_ORDER_MARK.len());
        }
        Ok(feed)
    }

    /// Where the next byte is.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The line of the next byte, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Reads further; whether there was more.
    fn more(&mut self) -> Result<bool, CalibrationError> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        if self.end >= LONGEST_ROW {
            let (path, line) = (self.path.clone(), self.line);
            return Err(CalibrationError::Document { path, line: Some(line), bytes: None });
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        interrupt::check()?;
        loop {
            match self.file.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    if let Some(hash) = &mut self.hash {
                        hash.update(&self.buffer[self.end..self.end + count]);
                    }
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(CalibrationError::Read { path: self.path.clone(), source }),
            }
        }
    }

    /// Passes over bytes in which no line ends.
    fn skip(&mut self, count: usize) {
        self.begin += count;
        self.offset += count as u64;
    }

    /// Passes over the next byte, which was looked at.
    pub(super) fn next(&mut self) {
        self.line += u64::from(self.buffer[self.begin] == b'\n');
        self.skip(1);
    }

    /// The next byte that is not white space, left in place.
    pub(super) fn visible(&mut self) -> Result<Option<u8>, CalibrationError> {
        loop {
            while self.begin < self.end {
                let byte = self.buffer[self.begin];
                if !byte.is_ascii_whitespace() {
                    return Ok(Some(byte));
                }
                self.next();
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// The rest of the line, with its end.
    pub(super) fn rest_of_line(&mut self) -> Result<&[u8], CalibrationError> {
        let mut seen = 0;
        let length = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.begin + seen..self.end]) {
                break seen + at + 1;
            }
            seen = self.end - self.begin;
            if !self.more()? {
                break seen;
            }
        };
        self.take(length)
    }

    /// An object, from its brace to the one that closes it; the rest of the file if none does. What lies
    /// between is only looked at for braces and strings.
    pub(super) fn object(&mut self) -> Result<&[u8], CalibrationError> {
        let mut state = Nesting::default();
        let mut seen = 0;
        let length = loop {
            if let Some(at) = state.close(&self.buffer[self.begin + seen..self.end]) {
                break seen + at + 1;
            }
            seen = self.end - self.begin;
            if !self.more()? {
                break seen;
            }
        };
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&[u8], CalibrationError> {
        let begin = self.begin;
        self.skip(length);
        let taken = &self.buffer[begin..begin + length];
        self.line += newlines(taken);
        Ok(taken)
    }

    /// The hash of the whole file, in hex, if it was to be hashed.
    pub(super) fn finish(mut self) -> Result<Option<String>, CalibrationError> {
        loop {
            self.begin = self.end;
            if !self.more()? {
                return Ok(self.hash.map(hex));
            }
        }
    }
}

/// Where in a value one is.
#[derive(Default)]
struct Nesting {
    depth: u32,
    string: bool,
    escaped: bool,
}

impl Nesting {
    /// The place of the byte that closes the value, if it is among these.
    fn close(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
            } else if self.string {
                // Most of a row is text: go to where something can happen.
                at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
                match bytes[at] {
                    b'"' => self.string = false,
                    _ => self.escaped = true,
                }
            } else {
                match bytes[at] {
                    b'"' => self.string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                if self.depth == 0 {
                    return Some(at);
                }
            }
            at += 1;
        }
        None
    }
}

/// How many lines end in these bytes.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
