//! How weights are read: mapped into memory, or read tensor by tensor where another machine may change the file. A mapped
//! file that is shortened ends the process; one that is read gives an error.

use std::{
    fs::{File, Metadata},
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

static MAPPED: AtomicBool = AtomicBool::new(true);

/// From here on maps no file of weights in this process.
pub fn map_nothing() {
    MAPPED.store(false, Ordering::Relaxed);
}

/// File systems that other machines write to, or that programs implement, by their number in `statfs(2)`.
#[cfg(target_os = "linux")]
const SHARED: [(u64, &str); 16] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x786f_4256, "a VirtualBox shared folder"),
    (0x4750_5346, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
];

/// Whether a file of weights is mapped: unless it is not wanted, or the file is on a file system that is shared.
pub(super) fn is_mapped(file: &File, path: &Path) -> bool {
    if !MAPPED.load(Ordering::Relaxed) {
        return false;
    }
    #[cfg(target_os = "linux")]
    if let Ok(found) = rustix::fs::fstatfs(file) {
        let number = u64::from(found.f_type as u32);
        if let Some((_, name)) = SHARED.iter().find(|(shared, _)| *shared == number) {
            tracing::info!("{} is on {name}: its weights are read and not mapped", path.display());
            return false;
        }
    }
    let _ = (file, path);
    true
}

/// The identity of a file, by which a change is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    bytes: u64,
    changed: Option<SystemTime>,
    number: (u64, u64),
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let number = (0, 0);
        Self { bytes: metadata.len(), changed: metadata.modified().ok(), number }
    }

    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }
}

/// Reads from a place in a file, up to its end.
pub(super) fn read_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::read_at(file, bytes, offset)
    }
    #[cfg(not(unix))]
    {
        std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
    }
}

/// Fills `bytes` from a place in a file.
pub(super) fn read_exact_at(file: &File, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match read_at(file, offset, bytes) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it is shorter than when it was opened",
                ));
            }
            Ok(count) => {
                bytes = &mut bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
