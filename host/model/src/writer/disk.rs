//! File system functions: syncing, exchanging, measuring.

use super::WriteError;
use std::{
    fs::{self, File},
    io,
    path::Path,
    time::SystemTime,
};

/// Turns an error of this path into a [`WriteError`].
pub(super) fn write_error(path: &Path) -> impl Fn(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Write { path: path.clone(), source }
}

/// Brings a folder's entries to the disk, where the system can.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    let _ = folder;
    Ok(())
}

/// Brings every file in a folder, those in folders below it, and their entries to the disk.
pub(super) fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            File::options().write(true).open(&path)?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// Whether a folder has nothing in it.
pub(super) fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether an open file is the one at this path, and not one that was removed from there.
pub(super) fn is_still_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (open.dev(), open.ino()) == (there.dev(), there.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = (open, there);
        true
    }
}

/// Exchanges two folders in one step.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the system or the file system has no such step.
pub(super) fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::{
            fs::{CWD, RenameFlags, renameat_with},
            io::Errno,
        };
        match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
            result => Ok(result?),
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = (a, b);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The bytes that a folder takes on the disk, and when anything in it was last written.
pub(super) fn usage(folder: &Path) -> (u64, SystemTime) {
    let changed = |path: &Path| fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let mut total = 0;
    let mut latest = changed(folder).unwrap_or(SystemTime::UNIX_EPOCH);
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            let (bytes, inner) = usage(&path);
            total += bytes;
            latest = latest.max(inner);
        } else {
            total += allocated(&meta);
            latest = latest.max(meta.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        }
    }
    (total, latest)
}

/// The bytes that a file takes on the disk: less than its length where it has holes.
fn allocated(meta: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        meta.blocks() * 512
    }
    #[cfg(not(unix))]
    {
        meta.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        fs::write(a.join("of a"), "").unwrap();
        match exchange(&a, &b) {
            Ok(()) => assert!(b.join("of a").exists() && is_empty(&a)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
    }

    #[test]
    fn usage_counts_files_in_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), vec![1; 100_000]).unwrap();
        let (bytes, changed) = usage(folder.path());
        assert!(bytes >= 90_000, "{bytes}");
        assert!(changed.elapsed().unwrap().as_secs() < 60);
    }
}
