//! One memory-mapped safetensors file.

use super::{CheckpointError, Header};
use crate::files;
use bytes::Bytes;
use memmap2::Mmap;
use std::{ops::Range, path::PathBuf, sync::Arc};

/// One memory-mapped safetensors file.
pub struct Shard {
    /// Its name in the folder.
    pub file: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its checked header.
    pub header: Header,
    map: Arc<Mmap>,
    bytes: Bytes,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shard({}, {} tensors)", self.path.display(), self.header.tensors.len())
    }
}

impl Shard {
    pub(super) fn open(path: PathBuf, file: String) -> Result<Self, CheckpointError> {
        let unreadable = |source| CheckpointError::Read { path: path.clone(), source };
        let opened = files::open(&path).map_err(unreadable)?;
        // SAFETY: the map is only ever read. What Rust cannot know is that no other program changes or
        // shortens the file meanwhile; as everywhere where checkpoints are mapped, that is the user's part.
        let map = Arc::new(unsafe { Mmap::map(&opened) }.map_err(unreadable)?);
        if crate::model::is_lfs_pointer(&map) {
            return Err(CheckpointError::LfsPointer { path });
        }
        let header =
            Header::parse(&map).map_err(|source| CheckpointError::Header { path: path.clone(), source })?;
        let bytes = Bytes::from_owner(Mapped(Arc::clone(&map)));
        Ok(Self { file, path, header, map, bytes })
    }

    /// Bytes of the file, without a copy. The file stays mapped as long as they live.
    pub(crate) fn slice(&self, range: Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    /// Everything before the tensors: the header and its length.
    pub(crate) fn preamble(&self) -> &[u8] {
        &self.map[..self.header.data_start]
    }

    /// The file's length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Bytes of the file that are used once: their memory is given back to the system when they are dropped.
    pub(crate) fn passing(&self, range: Range<usize>) -> Bytes {
        Bytes::from_owner(Passing { map: Arc::clone(&self.map), range })
    }

    /// Asks the system to read these bytes from the file soon.
    pub(crate) fn request(&self, range: Range<usize>) {
        #[cfg(unix)]
        if !range.is_empty() {
            // A failure only means that they are read when they are touched.
            let _ = self.map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Gives the memory of these bytes back to the system, which reads them from the file again if they
    /// are used again.
    pub(crate) fn release(&self, range: Range<usize>) {
        release(&self.map, range);
    }
}

fn release(map: &Mmap, range: Range<usize>) {
    #[cfg(unix)]
    if !range.is_empty() {
        // SAFETY: the map is a shared, read-only one of a file: after the call its pages are read from
        // the file again, with the same bytes. A failure only means that they stay in memory.
        let _ = unsafe {
            map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
        };
    }
    #[cfg(not(unix))]
    let _ = (map, range);
}

/// The owner of a shard's bytes.
struct Mapped(Arc<Mmap>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes of a shard that are used once.
struct Passing {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Passing {
    fn as_ref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        release(&self.map, self.range.clone());
    }
}
