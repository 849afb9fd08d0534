//! A temporary file for what memory does not hold.

use espalier_base::profile;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// A temporary file cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
#[error("hidden states cannot be kept in a temporary file in {}", .folder.display())]
pub struct SpillError {
    /// Where it is.
    pub folder: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A file that has no name and is gone when it is closed, however the process ends.
#[derive(Debug)]
pub struct SpillFile {
    folder: PathBuf,
    file: File,
}

impl SpillFile {
    /// Makes one in a folder.
    ///
    /// # Errors
    /// The folder cannot be written; so for every function.
    pub fn create(folder: &Path) -> Result<Self, SpillError> {
        let failed = |source| SpillError { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = tempfile::tempfile_in(folder).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), file })
    }

    /// Writes bytes from this place on.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), SpillError> {
        let _span = profile::disk("write hidden states", bytes.len());
        write_all_at(&self.file, offset, bytes).map_err(|source| self.failed(source))
    }

    /// Reads bytes from this place on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, SpillError> {
        let _span = profile::disk("read hidden states", length);
        let mut bytes = vec![0; length];
        read_exact_at(&self.file, offset, &mut bytes).map_err(|source| self.failed(source))?;
        Ok(bytes)
    }

    fn failed(&self, source: io::Error) -> SpillError {
        SpillError { folder: self.folder.clone(), source }
    }
}

#[cfg(unix)]
use std::os::unix::fs::FileExt;

#[cfg(unix)]
fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    file.read_exact_at(bytes, offset)
}

#[cfg(not(unix))]
fn write_all_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek, Write};
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek};
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}
