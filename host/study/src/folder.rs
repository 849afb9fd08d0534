//! The folder that a study's results are in.
//!
//! ```text
//! study.toml            the study file, as it was last run
//! cells/HASH/           a cell: pruning.json, and under evaluations/HASH/ scores.json and predictions.jsonl;
//!                       failed.json where it failed; model/ or model.sparse while it is needed, or to be kept
//! selections/HASH/      calibration windows that cells share: windows.jsonl and record.json; properties.json
//! leases/               locks: one process at a time works on a cell
//! digests.json          SHA-256 of what was read
//! results.jsonl, results.csv, table.md, report.html; properties.csv and correlations.csv of calibration data
//! ```
//!
//! A file appears whole or not at all, so that a process may end at any moment.

use super::{Result, StudyError};
use espalier_base::{
    files::{self, Limit},
    interrupt, output,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How often someone else's lease is asked for.
const PATIENCE: Duration = Duration::from_millis(50);

/// The folder that a study's results are in.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

/// The right to work on something, which ends with this value or with the process, whichever is first: the
/// operating system keeps it, so that a killed process blocks nobody.
#[derive(Debug)]
pub(super) struct Lease {
    _file: File,
}

impl Folder {
    /// The study file's copy.
    const STUDY: &str = "study.toml";

    /// The folders that every study has, which mark a folder as a study's.
    const OWN: [&str; 3] = ["leases", "cells", "selections"];

    /// Makes the folder, or takes the one that is there.
    ///
    /// # Errors
    /// There is a folder with something else in it, or it cannot be made.
    pub(super) fn create(root: &Path, study: &str) -> Result<Self> {
        let folder = Self { root: root.to_owned() };
        let is_own = Self::OWN.iter().all(|name| folder.path(name).is_dir());
        if root.exists() && !is_own && holds_something_else(root)? {
            let message = format!(
                "{} holds files, but no results of a study: give another folder with --out",
                root.display()
            );
            return Err(StudyError::Request(message));
        }
        for name in Self::OWN {
            make(&folder.path(name))?;
        }
        let _lease = folder.wait("results")?;
        write(&folder.path(Self::STUDY), study.as_bytes())?;
        Ok(folder)
    }

    /// A folder that may not be there; it is only read from.
    pub(super) fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Something in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A cell's folder.
    pub(super) fn cell(&self, hash: &str) -> PathBuf {
        self.root.join("cells").join(hash)
    }

    /// The folder of calibration windows that cells share.
    pub(super) fn selection(&self, hash: &str) -> PathBuf {
        self.root.join("selections").join(hash)
    }

    /// The lease of this name, unless someone else has it.
    pub(super) fn lease(&self, name: &str) -> Result<Option<Lease>> {
        let (path, file) = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lease { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(StudyError::Write { path, source }),
        }
    }

    /// The lease of this name, once its holder has released it.
    ///
    /// # Errors
    /// The lease cannot be had at all, or an interrupt.
    pub(super) fn wait(&self, name: &str) -> Result<Lease> {
        loop {
            if let Some(lease) = self.lease(name)? {
                return Ok(lease);
            }
            interrupt::check()?;
            thread::sleep(PATIENCE);
        }
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = self.root.join("leases").join(name);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|source| StudyError::Write { path: path.clone(), source })?;
        Ok((path, file))
    }
}

/// Whether a folder holds what a study does not make before its mark: one that was stopped that early goes on.
fn holds_something_else(folder: &Path) -> Result<bool> {
    let unreadable = |source| StudyError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if !Folder::OWN.iter().any(|own| name == *own) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a folder and those above it.
pub(super) fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| StudyError::Write { path: path.to_owned(), source })
}

/// Removes what processes that were killed left half-written in a folder, except a pruned model that can be continued.
pub(super) fn sweep(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') && !name.ends_with(".partial") {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file or folder, if it is there. Like everything it is there whole or not at all: a folder gets
/// the name of what is half-written first.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        let aside = aside(path);
        let moved = if aside == path { Ok(()) } else { fs::rename(path, &aside) };
        moved.and_then(|()| fs::remove_dir_all(&aside))
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StudyError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// The name of something half-written, which [`sweep`] knows by its dot.
fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{}", name.trim_start_matches('.')))
}

/// Writes a file: it appears whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(output::replace(path, bytes)?)
}

/// Writes a value as JSON, as [`write()`] does.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| StudyError::Malformed { path: path.to_owned(), source })?;
    write(path, &bytes)
}

/// The JSON of a file; nothing if there is no file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match files::read(path, Limit::RECORD) {
        Ok(bytes) => {
            let value = serde_json::from_slice(&bytes);
            Ok(Some(value.map_err(|source| StudyError::Malformed { path: path.to_owned(), source })?))
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StudyError::Read { path: path.to_owned(), source }),
    }
}

/// As [`read_json`], but a file that is damaged counts as one that is not there, and is said.
pub(super) fn read_sound<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match read_json(path) {
        Err(StudyError::Malformed { path, source }) => {
            damaged(&path, &source);
            Ok(None)
        }
        result => result,
    }
}

/// Says that a file of a cell is damaged.
pub(super) fn damaged(path: &Path, why: &dyn std::fmt::Display) {
    tracing::warn!("{} is damaged ({why}): run the study again to replace it", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_a_lease() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path(), "").unwrap();
        let lease = folder.lease("a").unwrap().expect("nobody has it");
        assert!(folder.lease("a").unwrap().is_none());
        assert!(folder.lease("b").unwrap().is_some());
        drop(lease);
        assert!(folder.lease("a").unwrap().is_some());
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("precious.txt"), "keep me").unwrap();
        let error = Folder::create(root.path(), "").unwrap_err();
        assert!(
            matches!(error, StudyError::Request(_)) && error.to_string().contains("no results of a study"),
            "{error}"
        );
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        // One that was stopped before it had its mark is no other's.
        let own = root.path().join("own");
        fs::create_dir_all(own.join("leases")).unwrap();
        Folder::create(&own, "one").unwrap();
        Folder::create(&own, "two").unwrap();
        // A user's own study file makes no folder of results.
        let project = root.path().join("project");
        fs::create_dir(&project).unwrap();
        fs::write(project.join("study.toml"), "mine").unwrap();
        assert!(Folder::create(&project, "one").is_err());
        assert_eq!(fs::read_to_string(project.join("study.toml")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(own.join("study.toml")).unwrap(), "two");
    }

    #[test]
    fn what_is_half_written_is_swept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("scores.json");
        write_json(&path, &[1, 2]).unwrap();
        fs::write(root.path().join(".scores.json"), "[1,").unwrap();
        fs::create_dir(root.path().join(".model.tmp")).unwrap();
        sweep(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![1, 2]));
        assert_eq!(read_json::<Vec<u8>>(&root.path().join("none")).unwrap(), None);
        assert!(read_json::<String>(&path).is_err());
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
