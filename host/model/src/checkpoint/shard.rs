//! One safetensors file: memory-mapped, or read tensor by tensor. It may lie within another.

use super::{
    CheckpointError, Header,
    access::{self, Identity},
};
use bytes::Bytes;
use espalier_base::files;
use memmap2::Mmap;
use std::{fs::File, io, ops::Range, path::PathBuf, sync::Arc};

/// One safetensors file.
pub struct Shard {
    /// Its name in the folder.
    pub file: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its checked header.
    pub header: Header,
    preamble: Vec<u8>,
    length: usize,
    content: ShardContent,
    /// The file's identity when it was opened.
    identity: Identity,
}

enum ShardContent {
    Mapped {
        map: Arc<Mmap>,
        bytes: Bytes,
    },
    Read(File),
    /// A part of another file.
    Part(Bytes),
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shard({}, {} tensors)", self.path.display(), self.header.tensors.len())
    }
}

impl Shard {
    pub(crate) fn open(path: PathBuf, file: String) -> Result<Self, CheckpointError> {
        let unreadable = |source| CheckpointError::Read { path: path.clone(), source };
        let opened = files::open(&path).map_err(unreadable)?;
        let identity = Identity::of(&opened.metadata().map_err(unreadable)?);
        let mut beginning = [0; 64];
        let count = access::read_at(&opened, 0, &mut beginning).map_err(unreadable)?;
        if crate::is_lfs_pointer(&beginning[..count]) {
            return Err(CheckpointError::LfsPointer { path });
        }
        let (header, preamble) = Header::read(&opened)
            .map_err(unreadable)?
            .map_err(|source| CheckpointError::Header { path: path.clone(), source })?;
        let length =
            usize::try_from(identity.bytes()).map_err(|error| unreadable(io::Error::other(error)))?;
        let content = if access::is_mapped(&opened, &path) {
            // SAFETY: the map is only ever read. What Rust cannot know is that no other program changes or shortens the
            // file meanwhile: that is noticed after every block, and where files are known to be shared, they are not
            // mapped.
            let map = Arc::new(unsafe { Mmap::map(&opened) }.map_err(unreadable)?);
            ShardContent::Mapped { bytes: Bytes::from_owner(Mapped(Arc::clone(&map))), map }
        } else {
            ShardContent::Read(opened)
        };
        Ok(Self { file, path, header, preamble, length, content, identity })
    }

    /// A safetensors file that lies in some bytes of another one.
    ///
    /// # Errors
    /// It is none, or cannot be read.
    pub(super) fn within(whole: &Self, range: Range<usize>, file: String) -> Result<Self, CheckpointError> {
        let bytes = whole.read(range)?;
        let path = whole.path.join(&file);
        let header =
            Header::parse(&bytes).map_err(|source| CheckpointError::Header { path: path.clone(), source })?;
        let (preamble, length) = (bytes[..header.data_start].to_vec(), bytes.len());
        let content = ShardContent::Part(bytes);
        Ok(Self { file, path, header, preamble, length, content, identity: whole.identity })
    }

    /// Bytes of the file: without a copy where it is mapped, and it then stays mapped as long as they live.
    ///
    /// # Errors
    /// The file cannot be read, or is shorter than it was.
    pub(crate) fn read(&self, range: Range<usize>) -> Result<Bytes, CheckpointError> {
        match &self.content {
            ShardContent::Mapped { bytes, .. } | ShardContent::Part(bytes) => Ok(bytes.slice(range)),
            ShardContent::Read(_) => {
                let mut bytes = vec![0; range.len()];
                self.read_into(range.start, &mut bytes)?;
                Ok(bytes.into())
            }
        }
    }

    /// Fills `into` with the bytes of the file from `start` on.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_into(&self, start: usize, into: &mut [u8]) -> Result<(), CheckpointError> {
        match &self.content {
            ShardContent::Mapped { bytes, .. } | ShardContent::Part(bytes) => {
                into.copy_from_slice(&bytes[start..start + into.len()]);
            }
            ShardContent::Read(file) => access::read_exact_at(file, start as u64, into)
                .map_err(|source| CheckpointError::Read { path: self.path.clone(), source })?,
        }
        Ok(())
    }

    /// Everything before the tensors: the header and its length.
    pub fn preamble(&self) -> &[u8] {
        &self.preamble
    }

    /// The file's length in bytes.
    pub fn file_bytes(&self) -> usize {
        self.length
    }

    /// Bytes of the file that are used once: their memory is given back to the system when they are dropped.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn passing(&self, range: Range<usize>) -> Result<Bytes, CheckpointError> {
        match &self.content {
            ShardContent::Mapped { map, .. } => {
                Ok(Bytes::from_owner(Passing { map: Arc::clone(map), range }))
            }
            ShardContent::Read(_) | ShardContent::Part(_) => self.read(range),
        }
    }

    /// Checks that the file is the one that was opened, as it was then. Of a part, the whole is to be checked.
    ///
    /// # Errors
    /// It was replaced, shortened or written to.
    pub(super) fn check_unchanged(&self) -> Result<(), CheckpointError> {
        if matches!(self.content, ShardContent::Part(_)) {
            return Ok(());
        }
        let now = std::fs::metadata(&self.path);
        let now = now.map_err(|source| CheckpointError::Read { path: self.path.clone(), source })?;
        if Identity::of(&now) == self.identity {
            Ok(())
        } else {
            Err(CheckpointError::Changed { path: self.path.clone() })
        }
    }

    /// Asks the system to read these bytes from the file soon.
    pub(crate) fn request(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let ShardContent::Mapped { map, .. } = &self.content
            && !range.is_empty()
        {
            // A failure only means that they are read when they are touched.
            let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Gives the memory of these bytes back to the system, which reads them from the file again if they
    /// are used again.
    pub(crate) fn release(&self, range: Range<usize>) {
        if let ShardContent::Mapped { map, .. } = &self.content {
            release(map, range);
        }
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
