//! Writing a pruned checkpoint: the same shards, names, types and order, one tensor at a time and in the background,
//! beside the target, and renamed into place when whole.

mod background;
mod error;
mod place;
mod shard;
mod side;

pub use background::IN_FLIGHT;
pub use error::WriteError;

use super::Checkpoint;
use crate::interrupt;
use background::Background;
use bytes::Bytes;
use place::Place;
use shard::{OpenShard, PIECE};
use std::{collections::BTreeSet, path::Path};

/// A checkpoint that is being written. Until [`commit`](CheckpointWriter::commit) nothing of it is to be seen
/// at the target; dropped before, it leaves nothing behind.
pub struct CheckpointWriter<'a> {
    source: &'a Checkpoint,
    // Dropped, and so ended, before the folder is removed.
    shards: Background,
    place: Place,
    written: BTreeSet<String>,
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
        let shards = Background::start(shards.collect::<Result<_, _>>()?, place.folder())?;
        Ok(Self { source, shards, place, written: BTreeSet::new() })
    }

    /// The folder that is being filled, until it is renamed to its target.
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// Writes a tensor's bytes in the source's type, in the background. At most [`IN_FLIGHT`] tensors are on their way:
    /// with more, this waits.
    ///
    /// # Errors
    /// The source has no such tensor or one of another size, or something that was written before has failed, because
    /// the disk is full or the run was interrupted.
    pub fn write(&mut self, name: &str, bytes: impl Into<Bytes>) -> Result<(), WriteError> {
        let bytes = bytes.into();
        let Some((shard, entry)) = self.source.entry(name) else {
            return Err(WriteError::UnknownTensor { name: name.to_owned() });
        };
        if bytes.len() != entry.range.len() {
            let (expected, found) = (entry.range.len(), bytes.len());
            return Err(WriteError::Size { name: name.to_owned(), expected, found });
        }
        self.shards.write(shard, entry.range.start, bytes)?;
        self.written.insert(name.to_owned());
        Ok(())
    }

    /// Copies every tensor that was not written, as [`write`](CheckpointWriter::write) does.
    ///
    /// # Errors
    /// The disk is full, or an interrupt.
    pub fn copy_remaining(&mut self) -> Result<(), WriteError> {
        for (number, shard) in self.source.shards().iter().enumerate() {
            for entry in &shard.header.tensors {
                if !self.written.insert(entry.name.clone()) {
                    continue;
                }
                for start in entry.range.clone().step_by(PIECE) {
                    interrupt::check()?;
                    let piece = start..entry.range.end.min(start + PIECE);
                    self.shards.write(number, start, shard.passing(piece))?;
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

    /// Puts the finished checkpoint at its target, when everything is written.
    ///
    /// # Errors
    /// A tensor was neither written nor copied, the files cannot be written or brought to the disk, or the folder cannot
    /// be renamed; then a target that was there before is there still.
    pub fn commit(mut self) -> Result<(), WriteError> {
        if let Some(name) = self.source.names().find(|name| !self.written.contains(*name)) {
            return Err(WriteError::Unwritten { name: name.to_owned() });
        }
        for shard in self.shards.finish()? {
            shard.sync()?;
        }
        self.place.commit()
    }
}

#[cfg(test)]
mod tests;
