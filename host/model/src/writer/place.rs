//! Where the output is made, and how it gets to its target.

use super::{
    WriteError,
    disk::{self, write_error},
    partial::{Journal, Partial},
    replace,
};
use crate::{Checkpoint, archive};
use bytes::Bytes;
use espalier_base::hash;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Removes what is left of an unfinished output beside a target that was finished, where a run ended between the two.
///
/// # Errors
/// A running process has it, or it cannot be removed.
pub fn tidy(target: &Path) -> Result<(), WriteError> {
    let Some(name) = target.file_name() else { return Ok(()) };
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let root = Partial::path(parent, &name.to_string_lossy());
    if !exists(&root) {
        return Ok(());
    }
    let partial = Some(Partial::open(root)?);
    let is_archive = archive::is_archive_name(target);
    let place = Place {
        partial,
        parent: parent.to_owned(),
        target: target.to_owned(),
        is_archive,
        overwrite: false,
        needed: 0,
    };
    // What is left after this is removed with the place, unless it is another run's.
    place.settle()
}

/// A target that may be written, and the unfinished output beside it, which is locked for this process. Dropped before
/// anything is finished, it leaves nothing behind; afterwards it leaves what is finished, to be continued.
#[derive(Debug)]
pub struct Place {
    /// Absent only while it is removed.
    partial: Option<Partial>,
    parent: PathBuf,
    target: PathBuf,
    /// Whether the target is an archive, which is made of the finished folder.
    is_archive: bool,
    overwrite: bool,
    needed: u64,
}

impl Place {
    /// Checks that a copy of `source` may be written to `target`, and locks the place beside it where it is made. A target that is
    /// [named as archives are](archive::is_archive_name) becomes one.
    ///
    /// # Errors
    /// The target exists and may not be replaced, is the source or inside of it, another process writes to it, or the
    /// disk has no room.
    pub fn open(source: &Checkpoint, target: &Path, overwrite: bool) -> Result<Self, WriteError> {
        let Some(name) = target.file_name() else { return Err(WriteError::NoName(target.to_owned())) };
        if source.is_archive() {
            return Err(WriteError::Archive(source.dir().to_owned()));
        }
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if exists(target) && !overwrite {
            return Err(WriteError::Exists(target.to_owned()));
        }
        fs::create_dir_all(&parent).map_err(write_error(&parent))?;
        let whole = parent.canonicalize().map_err(write_error(&parent))?.join(name);
        let whole = whole.canonicalize().unwrap_or(whole);
        let source_dir = source.dir().canonicalize().unwrap_or_else(|_| source.dir().to_owned());
        if whole.starts_with(&source_dir) || source_dir.starts_with(&whole) {
            return Err(WriteError::Overlaps { target: target.to_owned(), source_dir });
        }
        let root = Partial::path(&parent, &name.to_string_lossy());
        let partial = Partial::open(root)?;
        let dense: u64 = source.shards().iter().map(|shard| shard.file_bytes() as u64).sum();
        let is_archive = archive::is_archive_name(target);
        // An archive is made while the folder is there, and may be as large where little is pruned.
        let needed = if is_archive { 2 * dense } else { dense };
        let target = target.to_owned();
        let place = Self { partial: Some(partial), parent, target, is_archive, overwrite, needed };
        place.settle()?;
        place.may_be_written()?;
        let free = espalier_base::disk::free(&place.parent);
        let taken = disk::usage(&place.model()).0;
        if let Some(free) = free.filter(|free| free.saturating_add(taken) < needed) {
            return Err(WriteError::NoRoom { folder: place.parent.clone(), needed, free });
        }
        Ok(place)
    }

    fn partial(&self) -> Result<&Partial, WriteError> {
        self.partial.as_ref().ok_or(WriteError::Failed)
    }

    /// The folder beside the target, for files that live as long as the run.
    pub fn folder(&self) -> &Path {
        self.partial.as_ref().map_or(&self.parent, Partial::root)
    }

    /// The folder that becomes the target.
    pub(super) fn model(&self) -> PathBuf {
        self.partial.as_ref().map_or_else(|| self.parent.clone(), Partial::model)
    }

    /// The lines of the journal that an earlier run left.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn journal(&self) -> Result<Vec<String>, WriteError> {
        self.partial()?.journal()
    }

    /// The file for the hidden states that enter a block.
    pub(super) fn hidden(&self, block: usize) -> Result<PathBuf, WriteError> {
        Ok(self.partial()?.hidden(block))
    }

    /// Whether the disk has room for so many bytes beside the output.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let free = espalier_base::disk::free(&self.parent).unwrap_or(0);
        free.saturating_add(disk::usage(&self.model()).0) >= self.needed.saturating_add(bytes)
    }

    /// Forgets what an earlier run left, and makes the empty folder that becomes the target.
    pub(super) fn restart(&self) -> Result<Journal, WriteError> {
        let partial = self.partial()?;
        partial.clear()?;
        let model = partial.model();
        fs::create_dir(&model).map_err(write_error(&model))?;
        partial.open_journal()
    }

    /// The journal, to be continued.
    pub(super) fn open_journal(&self) -> Result<Journal, WriteError> {
        self.partial()?.open_journal()
    }

    /// Puts the finished folder, or the archive that is made of it, at the target, in one step where the system can, and removes what it replaces.
    pub(super) fn commit(mut self, mut journal: Journal) -> Result<(), WriteError> {
        let Some(partial) = self.partial.take() else { return Err(WriteError::Failed) };
        let result = self.put(&partial, &mut journal);
        // Windows removes no file that is open.
        drop(journal);
        if result.is_err() {
            self.partial = Some(partial);
            return result;
        }
        self.clean_up(partial)
    }

    fn put(&self, partial: &Partial, journal: &mut Journal) -> Result<(), WriteError> {
        let model = partial.model();
        let manifest =
            fs::read(model.join(replace::MANIFEST)).map(|bytes| hash::of(&bytes)).unwrap_or_default();
        let made = self.made(partial);
        if self.is_archive {
            archive::pack(&model, &made, true, |_| {}).map_err(Box::new)?;
        } else {
            disk::sync_all(&model).map_err(write_error(&model))?;
        }
        self.may_be_written()?;
        // From here on the target's manifest decides whether it happened.
        journal.append(&serde_json::json!({ "commit": manifest }).to_string())?;
        Partial::forget_hidden(partial.root(), None);
        let failed = write_error(&self.target);
        if !exists(&self.target) {
            fs::rename(&made, &self.target).map_err(&failed)?;
        } else {
            match disk::exchange(&made, &self.target) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    fs::rename(&self.target, partial.replaced()).map_err(&failed)?;
                    if let Err(error) = fs::rename(&made, &self.target) {
                        // Should this fail, too, the next run puts it back.
                        let _ = fs::rename(partial.replaced(), &self.target);
                        return Err(failed(error));
                    }
                }
                result => result.map_err(&failed)?,
            }
        }
        disk::sync_folder(&self.parent).map_err(write_error(&self.parent))
    }

    /// What is put at the target.
    fn made(&self, partial: &Partial) -> PathBuf {
        if self.is_archive { partial.archive() } else { partial.model() }
    }

    /// Finishes what a process that was killed while it committed had begun.
    fn settle(&self) -> Result<(), WriteError> {
        let partial = self.partial()?;
        let replaced = partial.replaced();
        if exists(&replaced) && !exists(&self.target) {
            fs::rename(&replaced, &self.target).map_err(write_error(&self.target))?;
        }
        let lines = partial.journal()?;
        let Some(manifest) = lines.last().and_then(|line| committed(line)) else { return Ok(()) };
        let found = match self.target.is_file() {
            true => {
                archive::files_in(&self.target).ok().and_then(|mut files| files.remove(replace::MANIFEST))
            }
            false => fs::read(self.target.join(replace::MANIFEST)).ok().map(Bytes::from),
        };
        let found = found.map(|bytes| hash::of(&bytes));
        if found.is_some_and(|found| found == manifest) {
            self.remove_former(partial)?;
            partial.clear()?;
        }
        Ok(())
    }

    /// Removes the former target and then everything else beside the new one.
    fn clean_up(&self, partial: Partial) -> Result<(), WriteError> {
        self.remove_former(&partial)?;
        partial.remove()
    }

    /// Removes the former target, which the commit left in the folder beside it.
    fn remove_former(&self, partial: &Partial) -> Result<(), WriteError> {
        for former in [self.made(partial), partial.replaced()].iter().filter(|former| exists(former)) {
            if let Err(error) = replace::remove(former) {
                // Files that came into it after it was checked are the user's.
                let kept = self.parent.join(format!(
                    "{}.replaced-{}",
                    self.target.file_name().unwrap_or_default().to_string_lossy(),
                    std::process::id()
                ));
                fs::rename(former, &kept).map_err(write_error(former))?;
                tracing::warn!(
                    "what {} held before is now in {}: it could not be removed ({error})",
                    self.target.display(),
                    kept.display()
                );
            }
        }
        Ok(())
    }

    fn may_be_written(&self) -> Result<(), WriteError> {
        if exists(&self.target) && !self.overwrite {
            return Err(WriteError::Exists(self.target.clone()));
        }
        match replace::obstacle(&self.target) {
            Some(why) => Err(WriteError::NotReplaced { target: self.target.clone(), why }),
            None => Ok(()),
        }
    }

    /// Whether there is anything worth continuing: more than the line that a run begins with.
    fn has_finished_blocks(&self) -> bool {
        self.journal().is_ok_and(|lines| lines.len() > 1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.has_finished_blocks() {
            return;
        }
        if let Some(partial) = self.partial.take()
            && let Err(error) = partial.remove()
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "an unfinished output stays behind");
        }
    }
}

/// The manifest's hash in a line that says that a commit has begun.
fn committed(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(line.get("commit")?.as_str()?.to_owned())
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
