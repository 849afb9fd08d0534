//! Memory that host and child share, for the bytes of tensors.
//!
//! The host never maps it, but writes and reads it as a file: whatever a child does to it, to shorten it included, is an
//! error of one request at most, and what the host has read is a copy that the child cannot change. This costs no copy more,
//! because a device's tensors are elsewhere. The child maps it, and a CPU twin works on its buffers where they are.

use memmap2::{MmapMut, MmapOptions};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

/// Where a twin's buffers begin: at multiples of so many bytes.
const ALIGNMENT: usize = 64;

/// The least that a child maps.
const LEAST: usize = 1 << 20;

/// The host's end: a file without a name. It grows to the largest tensor, or the buffers of the largest kernel, that cross.
pub(super) struct Memory(File);

impl Memory {
    /// Makes the memory, and the file that gives a child its end of it.
    ///
    /// # Errors
    /// The system has none left.
    pub(super) fn new() -> io::Result<(Self, File)> {
        let file = nameless()?;
        Ok((Self(file.try_clone()?), file))
    }

    /// Puts bytes at this place.
    pub(super) fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at as u64)
    }

    /// Copies the bytes at this place.
    pub(super) fn read(&self, at: usize, to: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(to, at as u64)
    }
}

/// Memory that counts as this process's own, and on no disk.
#[cfg(target_os = "linux")]
fn nameless() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(memfd_create("espalier-tensors", MemfdFlags::CLOEXEC)?.into())
}

/// Other systems cannot read shared memory as a file: theirs is a temporary file that nobody else can open.
#[cfg(not(target_os = "linux"))]
fn nameless() -> io::Result<File> {
    tempfile::tempfile()
}

/// The child's end.
pub(super) struct Mapped {
    file: File,
    map: MmapMut,
}

impl Mapped {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let map = map(&file, LEAST)?;
        Ok(Self { file, map })
    }

    /// The first `length` bytes.
    ///
    /// # Errors
    /// There is not so much memory.
    pub(super) fn bytes(&mut self, length: usize) -> io::Result<&mut [u8]> {
        if length > self.map.len() {
            self.map = map(&self.file, length.checked_next_power_of_two().unwrap_or(length))?;
        }
        Ok(&mut self.map[..length])
    }
}

/// Maps so much of a file, which grows to it.
fn map(file: &File, length: usize) -> io::Result<MmapMut> {
    if file.metadata()?.len() < length as u64 {
        file.set_len(length as u64)?;
    }
    // SAFETY: only the host has this file, too. It never shortens it, and it writes to it only in answer to a request, for
    // which this process waits: nothing refers to these bytes meanwhile, because callers borrow them from `Mapped`.
    unsafe { MmapOptions::new().len(length).map_mut(file) }
}

/// Where buffers of so many words each are, and the length of all; none where that overflows.
pub(super) fn places(words: &[usize]) -> Option<(Vec<Range<usize>>, usize)> {
    let mut end = 0usize;
    let mut places = Vec::with_capacity(words.len());
    for words in words {
        let start = end;
        end = start.checked_add(words.checked_mul(4)?)?;
        places.push(start..end);
        end = end.checked_next_multiple_of(ALIGNMENT)?;
    }
    Some((places, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both kinds of memory, whatever this system has.
    fn both() -> [(Memory, Mapped); 2] {
        [nameless().unwrap(), tempfile::tempfile().unwrap()]
            .map(|file| (Memory(file.try_clone().unwrap()), Mapped::new(file).unwrap()))
    }

    #[test]
    fn each_side_sees_what_the_other_wrote() {
        for (host, mut child) in both() {
            let long = vec![7; 3 * LEAST];
            host.write(64, &long).unwrap();
            assert_eq!(child.bytes(64 + long.len()).unwrap()[64..], long);
            child.bytes(5 * LEAST).unwrap()[4 * LEAST] = 9;
            let mut read = [0; 2];
            host.read(4 * LEAST, &mut read).unwrap();
            assert_eq!(read, [9, 0]);
        }
    }

    /// A child can do with the file what it likes.
    #[test]
    fn memory_that_is_shortened_is_an_error_of_the_host() {
        for (host, child) in both() {
            let mut read = [0; 8];
            host.read(0, &mut read).unwrap();
            child.file.set_len(4).unwrap();
            assert_eq!(host.read(0, &mut read).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            host.write(0, &[1; 8]).unwrap();
            host.read(0, &mut read).unwrap();
            assert_eq!(read, [1; 8]);
        }
    }

    #[test]
    fn buffers_lie_side_by_side() {
        assert_eq!(places(&[1, 0, 17]), Some((vec![0..4, 64..64, 64..132], 192)));
        assert_eq!(places(&[usize::MAX / 2]), None);
        assert_eq!(places(&[usize::MAX / 4, 64]), None);
    }
}
