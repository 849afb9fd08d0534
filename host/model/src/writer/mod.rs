//! Writing a pruned checkpoint: the same shards, names, types and order, one tensor at a time and in the background,
//! beside the target, and renamed into place when whole. What is finished is durable and listed in a journal, so that
//! a run that ended early can be continued.

mod background;
mod cut;
mod disk;
mod error;
mod low_rank;
mod partial;
mod place;
mod replace;
mod shard;
mod side;

pub use background::IN_FLIGHT;
pub use cut::Cut;
pub use error::WriteError;
pub use low_rank::Factor;
pub use partial::{Unfinished, remove_unfinished, unfinished};
pub use place::{Place, tidy};
pub use replace::{FileRecord, MANIFEST};
pub use side::CARD;
pub(crate) use side::files_beside;

use super::Checkpoint;
use background::Background;
use bytes::Bytes;
use disk::write_error;
use espalier_base::{hash::Hashed, interrupt};
use rayon::prelude::*;
use shard::{OpenShard, PIECE};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
};

/// A checkpoint that is being written. Until [`commit`](CheckpointWriter::commit) nothing of it is to be seen
/// at the target. Dropped before, it leaves nothing behind unless [blocks are finished](CheckpointWriter::mark).
pub struct CheckpointWriter<'a> {
    source: &'a Checkpoint,
    // Dropped, and so ended, before the folder is removed.
    output: Background,
    place: Place,
    written: BTreeSet<String>,
    cut: Cut,
}

impl fmt::Debug for CheckpointWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("CheckpointWriter").finish_non_exhaustive()
    }
}

impl<'a> CheckpointWriter<'a> {
    /// Begins a copy of `source` without what is cut, and a journal with these lines. What an earlier run left is forgotten.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn create(
        source: &'a Checkpoint,
        place: Place,
        begin: &[String],
        cut: Cut,
    ) -> Result<Self, WriteError> {
        let mut journal = place.restart()?;
        let model = place.model();
        let shards = source.shards().iter().map(|shard| OpenShard::create(shard, &model, &cut));
        let shards = shards.collect::<Result<_, _>>()?;
        disk::sync_folder(&model).map_err(write_error(&model))?;
        begin.iter().try_for_each(|line| journal.append(line))?;
        let output = Background::start(shards, journal, place.folder())?;
        Ok(Self { source, output, place, written: BTreeSet::new(), cut })
    }

    /// Continues the copy of `source` that an earlier run left. `written` are the tensors that it finished.
    ///
    /// # Errors
    /// The files are not those of a copy of this source, or cannot be written.
    pub fn resume(
        source: &'a Checkpoint,
        place: Place,
        written: BTreeSet<String>,
        cut: Cut,
    ) -> Result<Self, WriteError> {
        let model = place.model();
        let shards = source.shards().iter().map(|shard| OpenShard::reopen(shard, &model, &cut));
        let output =
            Background::start(shards.collect::<Result<_, _>>()?, place.open_journal()?, place.folder())?;
        Ok(Self { source, output, place, written, cut })
    }

    /// The folder beside the target, for files that live as long as the run.
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
        if bytes.len() != self.cut.length(entry) {
            let (expected, found) = (self.cut.length(entry), bytes.len());
            return Err(WriteError::Size { name: name.to_owned(), expected, found });
        }
        self.output.write(shard, entry.range.start, bytes)?;
        self.written.insert(name.to_owned());
        Ok(())
    }

    /// Writes the low-rank part of a weight, in the background: `left` of `[out_features, rank]` and `right` of
    /// `[rank, in_features]`, f32.
    ///
    /// # Errors
    /// As [`write`](CheckpointWriter::write).
    pub fn write_low_rank(
        &mut self,
        name: &str,
        shape: (usize, usize, usize),
        left: Vec<u8>,
        right: Vec<u8>,
    ) -> Result<(), WriteError> {
        let path = low_rank::piece(self.place.folder(), name);
        self.output.write_file(path, low_rank::encode(name, shape, left, right)?.into())
    }

    /// The low-rank part of a weight that was written: `[out_features, rank]` and `[rank, in_features]`.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read_low_rank(&self, name: &str) -> Result<(Factor, Factor), WriteError> {
        low_rank::read(self.place.folder(), name)
    }

    /// Puts the low-rank parts of these weights, which are written, into the output: the name of each in the source, and in
    /// the output.
    ///
    /// # Errors
    /// One is not there, or the disk is full.
    pub fn add_low_rank(&mut self, weights: &[(String, String)]) -> Result<(), WriteError> {
        if weights.is_empty() {
            return Ok(());
        }
        self.flush()?;
        low_rank::assemble(self.place.folder(), &self.place.model(), weights)
    }

    /// Brings all tensors that were written to the disk and then adds a line to the journal, in the background.
    ///
    /// # Errors
    /// As [`write`](CheckpointWriter::write).
    pub fn mark(&mut self, line: String) -> Result<(), WriteError> {
        self.output.mark(line)
    }

    /// Whether the disk has room for so many bytes beside the output.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        self.place.has_room_for(bytes)
    }

    /// Appends to the hidden states that enter a block, in the background. Where the disk has no room, they are not
    /// kept, and the run continues.
    ///
    /// # Errors
    /// Something that was written before has failed.
    pub fn write_hidden(&mut self, block: usize, bytes: impl Into<Bytes>) -> Result<(), WriteError> {
        self.output.write_hidden(self.place.hidden(block)?, bytes.into())
    }

    /// Brings the hidden states that enter a block to the disk and then adds a line to the journal, in the background;
    /// older ones are removed. Nothing happens where they were not kept.
    ///
    /// # Errors
    /// As [`write_hidden`](CheckpointWriter::write_hidden).
    pub fn mark_hidden(&mut self, block: usize, line: String) -> Result<(), WriteError> {
        self.output.mark_hidden(block, line)
    }

    /// The file of hidden states that enter a block.
    ///
    /// # Errors
    /// The output was committed already.
    pub fn hidden(&self, block: usize) -> Result<PathBuf, WriteError> {
        self.place.hidden(block)
    }

    /// The lines of the journal that are on the disk.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn journal(&self) -> Result<Vec<String>, WriteError> {
        self.place.journal()
    }

    /// Waits until everything that was given is written, and the journal with it.
    ///
    /// # Errors
    /// Something that was written before has failed.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.output.flush()
    }

    /// The bytes of a tensor as they stand in the output.
    ///
    /// # Errors
    /// There is no such tensor, or it cannot be read.
    pub fn read_back(&self, name: &str) -> Result<Vec<u8>, WriteError> {
        let Some((number, entry)) = self.source.entry(name) else {
            return Err(WriteError::UnknownTensor { name: name.to_owned() });
        };
        shard::read_back(&self.source.shards()[number], &self.place.model(), &self.cut, entry)
    }

    /// Copies every tensor that was not written, as [`write`](CheckpointWriter::write) does.
    ///
    /// # Errors
    /// The disk is full, or an interrupt.
    pub fn copy_remaining(&mut self) -> Result<(), WriteError> {
        for (number, shard) in self.source.shards().iter().enumerate() {
            for entry in &shard.header.tensors {
                if !self.written.insert(entry.name.clone()) || self.cut.name(&entry.name).is_none() {
                    continue;
                }
                if let Some(slice) = self.cut.slice(&entry.name) {
                    interrupt::check()?;
                    let bytes = shard.read(entry.range.clone()).map_err(Box::new)?;
                    let kept = slice.bytes(&entry.shape, &bytes);
                    self.output.write(number, entry.range.start, kept.into())?;
                    continue;
                }
                for start in entry.range.clone().step_by(PIECE) {
                    interrupt::check()?;
                    let piece = start..entry.range.end.min(start + PIECE);
                    self.output.write(number, start, shard.passing(piece).map_err(Box::new)?)?;
                }
            }
        }
        Ok(())
    }

    /// Copies what is beside the weights: configuration, tokenizer, licence. The source's own model card is
    /// kept as `README.original.md`. `blocks` are those of the source.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn side_files(&mut self, blocks: usize) -> Result<(), WriteError> {
        side::copy(self.source, &self.place.model())?;
        self.cut.apply(self.source, &self.place.model(), blocks)
    }

    /// Writes another file.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = self.place.model().join(name);
        fs::write(&path, bytes).map_err(write_error(&path))
    }

    /// Length and hash of every file of the output, by its name. All tensors are written before.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn files(&mut self) -> Result<BTreeMap<String, FileRecord>, WriteError> {
        self.flush()?;
        let model = self.place.model();
        let mut names = Vec::new();
        list(&model, "", &mut names)?;
        let record = |name: String| {
            interrupt::check()?;
            let path = model.join(&name);
            let read = File::open(&path).and_then(|file| {
                let bytes = file.metadata()?.len();
                Ok(FileRecord { bytes, sha256: Hashed::new(file).finish()? })
            });
            match read {
                Ok(record) => Ok((name, record)),
                Err(source) => Err(WriteError::Read { path, source }),
            }
        };
        names.into_par_iter().map(record).collect()
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
        self.source.check_unchanged().map_err(Box::new)?;
        let written = self.output.finish()?;
        drop(written.shards);
        self.place.commit(written.journal)
    }
}

/// The names of all files in a folder and below, without the manifest.
fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), WriteError> {
    let unreadable = |source| WriteError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            list(&path, &format!("{name}/"), names)?;
        } else if name != MANIFEST {
            names.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
