//! The folder of an output that is not finished: `.NAME.partial` beside the target.
//!
//! ```text
//! lock            held by the run that works on it
//! journal.jsonl   what is finished, one line each, every line durable before the next step
//! hidden-N.f32    the hidden states that enter block N
//! low-rank-*      the low-rank parts of layers that have one
//! model/          what becomes the target
//! model.sparse    the archive made of it, where that becomes the target
//! replaced/       the target's former contents, where the system cannot exchange two folders
//! ```

use super::{
    WriteError,
    disk::{self, write_error},
};
use espalier_base::files::{self, Limit};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const LOCK: &str = "lock";
const JOURNAL: &str = "journal.jsonl";
const MODEL: &str = "model";
const ARCHIVE: &str = "model.sparse";
const REPLACED: &str = "replaced";

/// The folder of an unfinished output, locked for this process.
#[derive(Debug)]
pub(super) struct Partial {
    root: PathBuf,
    /// Held until this value is dropped or the process ends.
    lock: File,
}

impl Partial {
    /// The folder for a target of this name. It may not exist.
    pub(super) fn path(parent: &Path, name: &str) -> PathBuf {
        parent.join(format!(".{name}.partial"))
    }

    /// Makes the folder, or takes over the one that an ended run left.
    ///
    /// # Errors
    /// Another process works on it, it is not ours, or it cannot be written.
    pub(super) fn open(root: PathBuf) -> Result<Self, WriteError> {
        loop {
            match fs::create_dir(&root) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !is_ours(&root) {
                        return Err(WriteError::NotPartial(root));
                    }
                }
                Err(error) => return Err(write_error(&root)(error)),
            }
            let path = root.join(LOCK);
            let lock = File::options().create(true).append(true).open(&path);
            let mut lock = match lock {
                // Another run finished and removed the folder meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock.map_err(write_error(&path))?,
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let owner = fs::read_to_string(&path).unwrap_or_default();
                    return Err(WriteError::InUse { folder: root, process: owner.trim().to_owned() });
                }
                Err(TryLockError::Error(error)) => return Err(write_error(&path)(error)),
            }
            if disk::is_still_at(&lock, &path) {
                lock.set_len(0).map_err(write_error(&path))?;
                write!(lock, "{}", std::process::id()).map_err(write_error(&path))?;
                return Ok(Self { root, lock });
            }
        }
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that becomes the target.
    pub(super) fn model(&self) -> PathBuf {
        self.root.join(MODEL)
    }

    /// The archive that becomes the target in place of the folder, where one is asked for.
    pub(super) fn archive(&self) -> PathBuf {
        self.root.join(ARCHIVE)
    }

    /// Where a former target waits to be removed, on systems that cannot exchange two folders.
    pub(super) fn replaced(&self) -> PathBuf {
        self.root.join(REPLACED)
    }

    /// The file of hidden states that enter a block.
    pub(super) fn hidden(&self, block: usize) -> PathBuf {
        self.root.join(format!("hidden-{block}.f32"))
    }

    /// The whole lines of the journal. A line that was cut off by the end of a process does not count.
    pub(super) fn journal(&self) -> Result<Vec<String>, WriteError> {
        let path = self.root.join(JOURNAL);
        match fs::read(&path) {
            Ok(bytes) => Ok(whole_lines(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(WriteError::Read { path, source }),
        }
    }

    /// Opens the journal to be continued behind its last whole line.
    pub(super) fn open_journal(&self) -> Result<Journal, WriteError> {
        let path = self.root.join(JOURNAL);
        let failed = write_error(&path);
        let file = File::options().create(true).read(true).write(true).truncate(false).open(&path);
        let mut file = file.map_err(&failed)?;
        let whole = fs::read(&path).map_err(&failed)?;
        let length = whole.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(length as u64).map_err(&failed)?;
        file.seek(io::SeekFrom::End(0)).map_err(&failed)?;
        disk::sync_folder(&self.root).map_err(&failed)?;
        drop(failed);
        Ok(Journal { path, file })
    }

    /// Removes everything but the lock.
    pub(super) fn clear(&self) -> Result<(), WriteError> {
        let failed = write_error(&self.root);
        for entry in fs::read_dir(&self.root).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            if path.file_name().is_some_and(|name| name != LOCK) {
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(write_error(&path))?;
            }
        }
        Ok(())
    }

    /// Removes the files of hidden states, except the one that enters `block`.
    pub(super) fn forget_hidden(root: &Path, except: Option<usize>) {
        let Ok(entries) = fs::read_dir(root) else { return };
        let kept = except.map(|block| format!("hidden-{block}.f32"));
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("hidden-") && Some(&name) != kept.as_ref() {
                // Only space is lost if it stays.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes the folder.
    pub(super) fn remove(self) -> Result<(), WriteError> {
        self.clear()?;
        let failed = write_error(&self.root);
        fs::remove_file(self.root.join(LOCK)).map_err(&failed)?;
        fs::remove_dir(&self.root).map_err(&failed)?;
        drop(failed);
        drop(self.lock);
        Ok(())
    }
}

/// The journal of an unfinished output.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Appends a line and brings it to the disk.
    pub(super) fn append(&mut self, line: &str) -> Result<(), WriteError> {
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        written.and_then(|()| self.file.sync_data()).map_err(write_error(&self.path))
    }
}

fn whole_lines(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    String::from_utf8_lossy(&bytes[..end]).lines().map(str::to_owned).collect()
}

/// Whether a folder is one that an unfinished run made: it has a lock, or is still empty.
fn is_ours(root: &Path) -> bool {
    let is_folder = fs::symlink_metadata(root).is_ok_and(|meta| meta.is_dir());
    is_folder && (root.join(LOCK).is_file() || disk::is_empty(root))
}

/// An unfinished output that some run left, or is working on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its folder, `.NAME.partial`.
    pub folder: PathBuf,
    /// Bytes that it takes on the disk.
    pub bytes: u64,
    /// Time since anything in it was written.
    pub age: Duration,
    /// Whether a running process has it.
    pub in_use: bool,
}

impl Unfinished {
    /// The lines of its journal; none where it cannot be read.
    pub fn journal(&self) -> Vec<String> {
        let bytes = files::read(&self.folder.join(JOURNAL), Limit::RECORD);
        bytes.map_or_else(|_| Vec::new(), |bytes| whole_lines(&bytes))
    }
}

/// The unfinished outputs in a folder, those of older versions (`.NAME.partial-XXXXXX`) among them, by name.
///
/// # Errors
/// The folder cannot be read.
pub fn unfinished(folder: &Path) -> io::Result<Vec<Unfinished>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let current = name.ends_with(".partial") && is_ours(&path) && !disk::is_empty(&path);
        let old = name.contains(".partial-") && path.is_dir();
        if !name.starts_with('.') || !(current || old) {
            continue;
        }
        let (bytes, changed) = disk::usage(&path);
        let age = SystemTime::now().duration_since(changed).unwrap_or_default();
        let in_use = current && is_locked(&path.join(LOCK));
        found.push(Unfinished { folder: path, bytes, age, in_use });
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

fn is_locked(path: &Path) -> bool {
    let lock = File::options().append(true).open(path);
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Removes an unfinished output.
///
/// # Errors
/// A running process has it, or it cannot be removed.
pub fn remove_unfinished(folder: &Path) -> Result<(), WriteError> {
    if folder.join(LOCK).is_file() {
        Partial::open(folder.to_owned())?.remove()
    } else {
        fs::remove_dir_all(folder).map_err(write_error(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Partial::path(folder.path(), "out");
        let partial = Partial::open(root.clone()).unwrap();
        let error = Partial::open(root.clone()).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        assert!(unfinished(folder.path()).unwrap()[0].in_use);
        drop(partial);
        let found = unfinished(folder.path()).unwrap();
        assert!(!found[0].in_use && found[0].folder == root, "{found:?}");
        remove_unfinished(&root).unwrap();
        assert!(unfinished(folder.path()).unwrap().is_empty() && !root.exists());
    }

    #[test]
    fn a_folder_of_someone_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = Partial::path(folder.path(), "out");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("precious"), "keep").unwrap();
        assert!(matches!(Partial::open(root.clone()), Err(WriteError::NotPartial(_))));
        assert!(unfinished(folder.path()).unwrap().is_empty() && root.join("precious").exists());
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let partial = Partial::open(folder.path().join(".out.partial")).unwrap();
        let mut journal = partial.open_journal().unwrap();
        journal.append("one").unwrap();
        journal.append("two").unwrap();
        let path = partial.root().join(JOURNAL);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "thr").unwrap();
        assert_eq!(partial.journal().unwrap(), ["one", "two"]);
        partial.open_journal().unwrap().append("three").unwrap();
        assert_eq!(partial.journal().unwrap(), ["one", "two", "three"]);
    }
}
