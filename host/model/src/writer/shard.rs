//! A shard that is being filled.

use super::{Cut, WriteError};
use crate::checkpoint::{Entry, Shard};
use espalier_base::{interrupt, profile};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Bytes are written in pieces of this many, so that Ctrl-C is noticed in between.
pub(super) const PIECE: usize = 64 << 20;

/// A shard that is being filled.
pub(super) struct OpenShard {
    path: PathBuf,
    file: File,
    places: Places,
    /// Whether it was written to since it was last brought to the disk.
    dirty: bool,
}

impl OpenShard {
    /// Creates a shard's file with its header. The header is the source's, with the note `format: pt`, which
    /// `transformers` and llama.cpp's converter ask for.
    pub(super) fn create(source: &Shard, folder: &Path, cut: &Cut) -> Result<Self, WriteError> {
        let path = folder.join(&source.file);
        let failed = |source| WriteError::Write { path: path.clone(), source };
        let places = Places::of(source, cut)?;
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(&places.preamble).map_err(failed)?;
        file.set_len(places.length).map_err(failed)?;
        Ok(Self { path, file, places, dirty: true })
    }

    /// Opens a shard that an earlier run began.
    ///
    /// # Errors
    /// It cannot be opened, or is not the file that [`create`](Self::create) makes of this source.
    pub(super) fn reopen(source: &Shard, folder: &Path, cut: &Cut) -> Result<Self, WriteError> {
        let path = folder.join(&source.file);
        let failed = |source| WriteError::Write { path: path.clone(), source };
        let places = Places::of(source, cut)?;
        let mut file = File::options().read(true).write(true).open(&path).map_err(failed)?;
        let mut found = vec![0; places.preamble.len()];
        let same = file.metadata().map_err(failed)?.len() == places.length
            && file.read_exact(&mut found).is_ok()
            && found == places.preamble;
        if !same {
            return Err(failed(io::Error::other("it is not the file that the unfinished run began")));
        }
        Ok(Self { path, file, places, dirty: false })
    }

    /// One that no byte can be written to.
    #[cfg(test)]
    pub(super) fn read_only(source: &Shard, folder: &Path) -> Self {
        let path = folder.join(&source.file);
        let file = File::open(&path).unwrap();
        Self { path, file, places: Places::of(source, &Cut::default()).unwrap(), dirty: false }
    }

    /// Writes bytes of a tensor at the place that they have in the source; of one that is cut, from its start on.
    pub(super) fn write_at(&mut self, start: usize, bytes: &[u8]) -> Result<(), WriteError> {
        let _span = profile::disk("write shard", bytes.len());
        let failed = |source| WriteError::Write { path: self.path.clone(), source };
        let start = self.places.of_source(start);
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

/// Reads a tensor of a shard that is being written, by the place that it has in the source.
pub(super) fn read_back(
    source: &Shard,
    folder: &Path,
    cut: &Cut,
    entry: &Entry,
) -> Result<Vec<u8>, WriteError> {
    let path = folder.join(&source.file);
    let unreadable = |source| WriteError::Read { path: path.clone(), source };
    let mut file = File::open(&path).map_err(unreadable)?;
    let mut bytes = vec![0; cut.length(entry)];
    let start = Places::of(source, cut)?.of_source(entry.range.start);
    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

/// Where the tensors of a shard are in the output.
struct Places {
    /// The bytes before the tensors.
    preamble: Vec<u8>,
    /// Where each tensor starts in the source and in the output, in order.
    starts: Vec<(usize, u64)>,
    /// Bytes of the output.
    length: u64,
}

impl Places {
    fn of(source: &Shard, cut: &Cut) -> Result<Self, WriteError> {
        let mut header = serde_json::Map::new();
        let mut metadata = source.header.metadata.clone();
        metadata.insert("format".to_owned(), "pt".to_owned());
        header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
        let mut starts = Vec::new();
        let mut end = 0;
        for entry in &source.header.tensors {
            let Some(name) = cut.name(&entry.name) else { continue };
            let (start, length) = (end, cut.length(entry));
            end += length;
            let shape = cut.shape(entry);
            let described = serde_json::json!({
                "dtype": entry.dtype, "shape": shape, "data_offsets": [start, end],
            });
            header.insert(name.into_owned(), described);
            starts.push((entry.range.start, start as u64));
        }
        let noted = source.header.metadata.get("format").is_some_and(|format| format == "pt");
        let preamble = if noted && cut.is_nothing() {
            source.preamble().to_vec()
        } else {
            let json = serde_json::to_vec(&header);
            let mut json = json.map_err(|error| WriteError::Write {
                path: source.path.clone(),
                source: io::Error::other(error),
            })?;
            json.resize(json.len().next_multiple_of(8), b' ');
            let mut preamble = (json.len() as u64).to_le_bytes().to_vec();
            preamble.extend(json);
            preamble
        };
        let before = preamble.len() as u64;
        starts.iter_mut().for_each(|(_, start)| *start += before);
        Ok(Self { length: before + end as u64, preamble, starts })
    }

    /// Where a byte of the source is in the output.
    fn of_source(&self, at: usize) -> u64 {
        let tensor = self.starts.partition_point(|(start, _)| *start <= at);
        match tensor.checked_sub(1).and_then(|tensor| self.starts.get(tensor)) {
            Some((start, to)) => to + (at - start) as u64,
            None => self.length,
        }
    }
}
