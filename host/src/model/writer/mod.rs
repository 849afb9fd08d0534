//! Writing a pruned checkpoint: the same shards, names, types and order, one tensor at a time, beside the
//! target, and renamed into place when whole.

mod error;
mod place;
mod side;

pub use error::WriteError;

use super::{Checkpoint, checkpoint::Shard};
use crate::{interrupt, profile};
use place::Place;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Tensors are copied in pieces of this many bytes, so that Ctrl-C is noticed in between.
const PIECE: usize = 64 << 20;

/// A checkpoint that is being written. Until [`commit`](CheckpointWriter::commit) nothing of it is to be seen
/// at the target; dropped before, it leaves nothing behind.
pub struct CheckpointWriter<'a> {
    source: &'a Checkpoint,
    place: Place,
    shards: Vec<OpenShard>,
    written: BTreeSet<String>,
}

/// A shard that is being filled.
struct OpenShard {
    path: PathBuf,
    file: File,
    /// How much longer its header is than the source's, which shifts every tensor.
    shift: i64,
}

impl<'a> CheckpointWriter<'a> {
    /// Begins a copy of `source` that will be at `target`.
    ///
    /// # Errors
    /// The target exists and may not be replaced, is the source or inside of it, or the disk has no room.
    pub fn create(source: &'a Checkpoint, target: &Path, overwrite: bool) -> Result<Self, WriteError> {
        let needed = source.shards().iter().map(|shard| shard.len() as u64).sum();
        let place = Place::create(source.dir(), target, overwrite, needed)?;
        let shards = source.shards().iter().map(|shard| OpenShard::create(shard, place.folder()));
        let shards = shards.collect::<Result<_, _>>()?;
        Ok(Self { source, place, shards, written: BTreeSet::new() })
    }

    /// The folder that is being filled, until it is renamed to its target.
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// Writes a tensor's bytes in the source's type.
    ///
    /// # Errors
    /// The source has no such tensor or one of another size, or the disk is full.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let Some((shard, entry)) = self.source.entry(name) else {
            return Err(WriteError::UnknownTensor { name: name.to_owned() });
        };
        if bytes.len() != entry.range.len() {
            let (expected, found) = (entry.range.len(), bytes.len());
            return Err(WriteError::Size { name: name.to_owned(), expected, found });
        }
        self.shards[shard].write_at(entry.range.start, bytes)?;
        self.written.insert(name.to_owned());
        Ok(())
    }

    /// Copies every tensor that was not written.
    ///
    /// # Errors
    /// The disk is full, or an interrupt.
    pub fn copy_remaining(&mut self) -> Result<(), WriteError> {
        let source = self.source;
        let written = &mut self.written;
        for (open, shard) in self.shards.iter_mut().zip(source.shards()) {
            for entry in &shard.header.tensors {
                if !written.insert(entry.name.clone()) {
                    continue;
                }
                for start in entry.range.clone().step_by(PIECE) {
                    interrupt::check()?;
                    let piece = start..entry.range.end.min(start + PIECE);
                    open.write_at(piece.start, &shard.slice(piece.clone()))?;
                    shard.release(piece);
                }
            }
        }
        Ok(())
    }

    /// Copies what is beside the weights: configuration, tokenizer, licence. The source's own model card is
    /// kept as `README.original.md`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn side_files(&mut self) -> Result<(), WriteError> {
        side::copy(self.source, self.place.folder())
    }

    /// Writes another file.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = self.place.folder().join(name);
        std::fs::write(&path, bytes).map_err(|source| WriteError::Write { path, source })
    }

    /// Puts the finished checkpoint at its target.
    ///
    /// # Errors
    /// A tensor was neither written nor copied, the files cannot be brought to the disk, or the folder cannot be renamed; then a target that was there
    /// before is there still.
    pub fn commit(self) -> Result<(), WriteError> {
        if let Some(name) = self.source.names().find(|name| !self.written.contains(*name)) {
            return Err(WriteError::Unwritten { name: name.to_owned() });
        }
        for shard in &self.shards {
            let _span = profile::disk("sync shard", 0);
            shard.file.sync_all().map_err(|source| WriteError::Write { path: shard.path.clone(), source })?;
        }
        self.place.commit()
    }
}

impl OpenShard {
    /// Creates a shard's file with its header. The header is the source's, with the note `format: pt`, which
    /// `transformers` and llama.cpp's converter ask for.
    fn create(source: &Shard, folder: &Path) -> Result<Self, WriteError> {
        let path = folder.join(&source.file);
        let failed = |source| WriteError::Write { path: path.clone(), source };
        let noted = source.header.metadata.get("format").is_some_and(|format| format == "pt");
        let preamble = if noted { source.preamble().to_vec() } else { with_format(source)? };
        let shift = preamble.len() as i64 - source.preamble().len() as i64;
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(&preamble).map_err(failed)?;
        file.set_len(source.len().saturating_add_signed(shift as isize) as u64).map_err(failed)?;
        Ok(Self { path, file, shift })
    }

    /// Writes bytes at the place that they have in the source.
    fn write_at(&mut self, start: usize, bytes: &[u8]) -> Result<(), WriteError> {
        let _span = profile::disk("write shard", bytes.len());
        let start = (start as u64).saturating_add_signed(self.shift);
        let seek = self.file.seek(SeekFrom::Start(start));
        seek.and_then(|_| self.file.write_all(bytes))
            .map_err(|source| WriteError::Write { path: self.path.clone(), source })
    }
}

/// A shard's header with the note `format: pt` added, padded as the format asks.
fn with_format(source: &Shard) -> Result<Vec<u8>, WriteError> {
    let mut metadata = source.header.metadata.clone();
    metadata.insert("format".to_owned(), "pt".to_owned());
    let start = source.header.data_start;
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    for entry in &source.header.tensors {
        let offsets = [entry.range.start - start, entry.range.end - start];
        let described = serde_json::json!({
            "dtype": entry.dtype, "shape": entry.shape, "data_offsets": offsets,
        });
        header.insert(entry.name.clone(), described);
    }
    let mut json = serde_json::to_vec(&header)
        .map_err(|e| WriteError::Write { path: source.path.clone(), source: std::io::Error::other(e) })?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut preamble = (json.len() as u64).to_le_bytes().to_vec();
    preamble.extend(json);
    Ok(preamble)
}

#[cfg(test)]
mod tests;
