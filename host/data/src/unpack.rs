//! Packed files: `.gz`, `.zst` and Parquet. They are unpacked into a file in the temporary folder, because rows are
//! gone back to by their place.

use super::{CalibrationError, parquet};
use ::parquet::{
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
};
use espalier_base::{files, guard, hash::Hashed, interrupt};
use flate2::bufread::GzDecoder;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    ops::Deref,
    path::{Path, PathBuf},
};
use tempfile::{NamedTempFile, TempPath};

/// File name endings of packed files.
pub(super) const ENDS: [&str; 4] = ["gz", "zst", "zstd", "parquet"];

/// Bytes that are unpacked at a time.
const CHUNK: usize = 1 << 20;

/// The binary logarithm of the longest window of zstd, which `zstd --long=31` asks for.
const LONGEST_WINDOW: u32 = 31;

/// How many times its size a packed file may come to, beside [`PACKED_FREE`]. Text and rows come to some 20 times.
const MOST: u64 = 200;

/// Bytes that any packed file may come to.
const PACKED_FREE: u64 = 64 << 20;

/// A file that was unpacked.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// The unpacked data: gone when this is dropped.
    pub(super) data: Data,
    /// SHA-256 of the packed file, in hex.
    pub(super) sha256: String,
    /// The extension of the packed file: `jsonl` for `rows.jsonl.gz`, and for Parquet.
    pub(super) end: String,
}

/// A temporary file that can be opened again by its path.
#[derive(Debug)]
pub(super) struct Data {
    path: PathBuf,
    /// Where the system opens a file again that has no name any more, that is what keeps it: then it is gone when the
    /// process ends, however it ends.
    _file: File,
    /// Elsewhere the file has a name, and is removed when this is dropped.
    _named: Option<TempPath>,
}

impl Data {
    fn new(file: NamedTempFile) -> io::Result<Self> {
        let (file, named) = file.into_parts();
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            if path.exists() {
                named.close()?;
                return Ok(Self { path, _file: file, _named: None });
            }
        }
        Ok(Self { path: named.to_path_buf(), _file: file, _named: Some(named) })
    }
}

impl Deref for Data {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// Unpacks a file, if it is of a packed kind by its name.
///
/// # Errors
/// It cannot be read, or is damaged; or there is no room for what is in it.
pub(super) fn unpack(path: &Path) -> Result<Option<Unpacked>, CalibrationError> {
    let end = end_of(path);
    if !ENDS.contains(&end.as_str()) {
        return Ok(None);
    }
    let unreadable = |source| CalibrationError::Read { path: path.to_owned(), source };
    let file = files::open(path).map_err(unreadable)?;
    let mut out = Out::new(path, file.metadata().map_err(unreadable)?.len())?;
    let (sha256, end) = match end.as_str() {
        "parquet" => {
            let sha256 = Hashed::new(&file).finish().map_err(unreadable)?;
            guard::catch(|| rows(path, file, &mut out)).map_err(|panic| damaged(path, panic))??;
            (sha256, "jsonl".to_owned())
        }
        packer => {
            let mut hashed = Hashed::new(file);
            if packer == "gz" {
                out.copy_members(BufReader::with_capacity(CHUNK, &mut hashed))?;
            } else {
                let mut decoder = zstd::Decoder::new(&mut hashed).map_err(|source| damaged(path, source))?;
                decoder.window_log_max(LONGEST_WINDOW).map_err(|source| damaged(path, source))?;
                out.copy(decoder)?;
            }
            let inner = path.file_stem().map(Path::new).map(end_of).unwrap_or_default();
            (hashed.finish().map_err(unreadable)?, inner)
        }
    };
    Ok(Some(Unpacked { data: out.finish()?, sha256, end }))
}

/// The ending of a file name, in lower case.
pub(super) fn end_of(path: &Path) -> String {
    path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// The rows of a Parquet file, each a line of JSON.
fn rows(path: &Path, file: File, out: &mut Out) -> Result<(), CalibrationError> {
    let wrong = |error: ParquetError| match error {
        ParquetError::NYI(what) => unsupported(path, what),
        // A codec that this build lacks is reported as a general error.
        ParquetError::General(what) if what.contains("isabled feature") || what.contains("not supported") => {
            unsupported(path, what)
        }
        other => damaged(path, other),
    };
    let wrong_row = |error: serde_json::Error| damaged(path, error);
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    for row in reader.get_row_iter(None).map_err(wrong)? {
        out.write(&parquet::line(&row.map_err(wrong)?).map_err(wrong_row)?)?;
    }
    Ok(())
}

fn unsupported(path: &Path, what: impl Into<String>) -> CalibrationError {
    CalibrationError::Unsupported { path: path.to_owned(), what: what.into() }
}

fn damaged(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CalibrationError {
    CalibrationError::Packed { path: path.to_owned(), source: source.into() }
}

/// Unpacked data on its way to a file.
struct Out<'a> {
    path: &'a Path,
    data: Data,
    file: BufWriter<File>,
    /// How many bytes may still come.
    left: u64,
}

impl<'a> Out<'a> {
    fn new(path: &'a Path, packed: u64) -> Result<Self, CalibrationError> {
        let made = NamedTempFile::with_prefix("espalier-").and_then(|file| {
            let writer = file.as_file().try_clone()?;
            Ok((Data::new(file)?, writer))
        });
        let (data, writer) = made.map_err(|source| room(path, source))?;
        let left = PACKED_FREE.saturating_add(packed.saturating_mul(MOST));
        Ok(Self { path, data, file: BufWriter::with_capacity(CHUNK, writer), left })
    }

    fn full(&self, source: io::Error) -> CalibrationError {
        room(self.path, source)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CalibrationError> {
        // A packed file may be large; it is left when asked to.
        interrupt::check()?;
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            damaged(self.path, format!("it comes to more than {MOST} times its size, which no data does"))
        })?;
        self.file.write_all(bytes).map_err(|source| self.full(source))
    }

    fn copy(&mut self, mut from: impl Read) -> Result<(), CalibrationError> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.write(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(damaged(self.path, source)),
            }
        }
    }

    /// Unpacks gzip's members one behind the other, as bgzip writes them, and passes over zero bytes behind the last, which
    /// tapes and block devices leave.
    fn copy_members(&mut self, mut from: impl BufRead) -> Result<(), CalibrationError> {
        let path = self.path;
        let wrong = |source| damaged(path, source);
        loop {
            self.copy(GzDecoder::new(&mut from))?;
            loop {
                let buffer = from.fill_buf().map_err(wrong)?;
                let zeros = buffer.iter().take_while(|&&byte| byte == 0).count();
                if buffer.is_empty() {
                    return Ok(());
                }
                if zeros == 0 {
                    break;
                }
                from.consume(zeros);
            }
        }
    }

    fn finish(self) -> Result<Data, CalibrationError> {
        let path = self.path;
        self.file.into_inner().map_err(|error| room(path, error.into_error()))?;
        Ok(self.data)
    }
}

fn room(path: &Path, source: io::Error) -> CalibrationError {
    CalibrationError::Unpack { path: path.to_owned(), folder: std::env::temp_dir(), source }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
