//! A shard that is being filled.

use super::{Cut, WriteError};
use crate::checkpoint::Shard;
use espalier_base::{interrupt, profile};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

/// Bytes are written in pieces of this many, so that Ctrl-C is noticed in between.
pub(super) const PIECE: usize = 64 << 20;

/// A shard that is being filled.
pub(super) struct OpenShard {
    path: PathBuf,
    file: File,
    /// How much longer its header is than the source's, which shifts every tensor.
    shift: i64,
    /// Bytes of the source that are left out, in order.
    gaps: Vec<Range<usize>>,
    /// Whether it was written to since it was last brought to the disk.
    dirty: bool,
}

impl OpenShard {
    /// Creates a shard's file with its header. The header is the source's, with the note `format: pt`, which
    /// `transformers` and llama.cpp's converter ask for.
    pub(super) fn create(source: &Shard, folder: &Path, cut: &Cut) -> Result<Self, WriteError> {
        let path = folder.join(&source.file);
        let failed = |source| WriteError::Write { path: path.clone(), source };
        let (preamble, gaps) = (preamble(source, cut)?, cut.gaps(source));
        let shift = preamble.len() as i64 - source.preamble().len() as i64;
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(&preamble).map_err(failed)?;
        file.set_len(place(&gaps, shift, source.file_bytes())).map_err(failed)?;
        Ok(Self { path, file, shift, gaps, dirty: true })
    }

    /// Opens a shard that an earlier run began.
    ///
    /// # Errors
    /// It cannot be opened, or is not the file that [`create`](Self::create) makes of this source.
    pub(super) fn reopen(source: &Shard, folder: &Path, cut: &Cut) -> Result<Self, WriteError> {
        let path = folder.join(&source.file);
        let failed = |source| WriteError::Write { path: path.clone(), source };
        let (preamble, gaps) = (preamble(source, cut)?, cut.gaps(source));
        let shift = preamble.len() as i64 - source.preamble().len() as i64;
        let mut file = File::options().read(true).write(true).open(&path).map_err(failed)?;
        let mut found = vec![0; preamble.len()];
        let length = place(&gaps, shift, source.file_bytes());
        let same = file.metadata().map_err(failed)?.len() == length
            && file.read_exact(&mut found).is_ok()
            && found == preamble;
        if !same {
            return Err(failed(io::Error::other("it is not the file that the unfinished run began")));
        }
        Ok(Self { path, file, shift, gaps, dirty: false })
    }

    /// One that no byte can be written to.
    #[cfg(test)]
    pub(super) fn read_only(source: &Shard, folder: &Path) -> Self {
        let path = folder.join(&source.file);
        let file = File::open(&path).unwrap();
        Self { path, file, shift: 0, gaps: Vec::new(), dirty: false }
    }

    /// Writes bytes at the place that they have in the source.
    pub(super) fn write_at(&mut self, start: usize, bytes: &[u8]) -> Result<(), WriteError> {
        let _span = profile::disk("write shard", bytes.len());
        let failed = |source| WriteError::Write { path: self.path.clone(), source };
        let start = place(&self.gaps, self.shift, start);
        self.file.seek(SeekFrom::Start(start)).map_err(failed)?;
        for piece in bytes.chunks(PIECE) {
            interrupt::check()?;
            self.file.write_all(piece).map_err(failed)?;
        }
        self.dirty = true;
        Ok(())
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&mut self) -> Result<(), WriteError> {
        if self.dirty {
            let _span = profile::disk("sync shard", 0);
            self.file.sync_data().map_err(|source| WriteError::Write { path: self.path.clone(), source })?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// Reads bytes of a shard that is being written, by the place that they have in the source.
pub(super) fn read_back(
    source: &Shard,
    folder: &Path,
    cut: &Cut,
    range: Range<usize>,
) -> Result<Vec<u8>, WriteError> {
    let path = folder.join(&source.file);
    let unreadable = |source| WriteError::Read { path: path.clone(), source };
    let shift = preamble(source, cut)?.len() as i64 - source.preamble().len() as i64;
    let mut file = File::open(&path).map_err(unreadable)?;
    let mut bytes = vec![0; range.len()];
    let start = place(&cut.gaps(source), shift, range.start);
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

/// The bytes before the tensors in the output: the source's header, noted as [`OpenShard::create`] says.
fn preamble(source: &Shard, cut: &Cut) -> Result<Vec<u8>, WriteError> {
    let noted = source.header.metadata.get("format").is_some_and(|format| format == "pt");
    if noted && cut.is_nothing() { Ok(source.preamble().to_vec()) } else { described(source, cut) }
}

/// Where a byte of the source is in the output.
fn place(gaps: &[Range<usize>], shift: i64, start: usize) -> u64 {
    let before: usize = gaps.iter().filter(|gap| gap.start < start).map(ExactSizeIterator::len).sum();
    ((start - before) as u64).saturating_add_signed(shift)
}

/// A shard's header with the note `format: pt` added, without the tensors that are left out, padded as the format asks.
fn described(source: &Shard, cut: &Cut) -> Result<Vec<u8>, WriteError> {
    let mut metadata = source.header.metadata.clone();
    metadata.insert("format".to_owned(), "pt".to_owned());
    let start = source.header.data_start;
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    let gaps = cut.gaps(source);
    for entry in &source.header.tensors {
        let Some(name) = cut.name(&entry.name) else { continue };
        let first = place(&gaps, 0, entry.range.start) as usize - start;
        let offsets = [first, first + entry.range.len()];
        let described = serde_json::json!({
            "dtype": entry.dtype, "shape": entry.shape, "data_offsets": offsets,
        });
        header.insert(name.into_owned(), described);
    }
    let mut json = serde_json::to_vec(&header)
        .map_err(|e| WriteError::Write { path: source.path.clone(), source: std::io::Error::other(e) })?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut preamble = (json.len() as u64).to_le_bytes().to_vec();
    preamble.extend(json);
    Ok(preamble)
}
