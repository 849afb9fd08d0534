//! Where the output is made, and how it gets to its target.

use super::WriteError;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A folder beside the target that becomes the target.
pub(super) struct Place {
    partial: TempDir,
    parent: PathBuf,
    target: PathBuf,
    overwrite: bool,
}

impl Place {
    /// Makes the folder, if the target may be written and the disk has room for `needed` bytes.
    pub(super) fn create(
        source: &Path,
        target: &Path,
        overwrite: bool,
        needed: u64,
    ) -> Result<Self, WriteError> {
        let Some(name) = target.file_name() else { return Err(WriteError::NoName(target.to_owned())) };
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let exists = fs::symlink_metadata(target).is_ok();
        if exists && !overwrite {
            return Err(WriteError::Exists(target.to_owned()));
        }
        let cannot = |path: &Path| {
            let path = path.to_owned();
            move |source| WriteError::Write { path, source }
        };
        fs::create_dir_all(&parent).map_err(cannot(&parent))?;
        let whole = parent.canonicalize().map_err(cannot(&parent))?.join(name);
        let whole = whole.canonicalize().unwrap_or(whole);
        let source = source.canonicalize().unwrap_or_else(|_| source.to_owned());
        if whole.starts_with(&source) || source.starts_with(&whole) {
            return Err(WriteError::Overlaps { target: target.to_owned(), source_dir: source });
        }
        if exists && !may_be_replaced(target) {
            return Err(WriteError::NoModel(target.to_owned()));
        }
        let free = fs4::available_space(&parent).map_err(cannot(&parent))?;
        if free < needed {
            return Err(WriteError::NoRoom { folder: parent, needed, free });
        }
        let prefix = format!(".{}.partial-", name.to_string_lossy());
        let partial =
            tempfile::Builder::new().prefix(&prefix).tempdir_in(&parent).map_err(cannot(&parent))?;
        Ok(Self { partial, parent, target: target.to_owned(), overwrite })
    }

    /// The folder to write to.
    pub(super) fn folder(&self) -> &Path {
        self.partial.path()
    }

    /// Renames the folder to the target. One that is there already is moved aside first, and removed when the
    /// new one is in its place.
    pub(super) fn commit(self) -> Result<(), WriteError> {
        let failed = |source| WriteError::Write { path: self.target.clone(), source };
        open_to_others(self.folder()).map_err(failed)?;
        sync_folder(self.folder()).map_err(failed)?;
        let exists = fs::symlink_metadata(&self.target).is_ok();
        if exists && !self.overwrite {
            return Err(WriteError::Exists(self.target));
        }
        if exists {
            let aside = self.parent.join(format!(
                "{}.replaced",
                self.folder().file_name().unwrap_or_default().to_string_lossy()
            ));
            fs::rename(&self.target, &aside).map_err(failed)?;
            if let Err(error) = fs::rename(self.folder(), &self.target) {
                // Back to where it was; should that fail too, it is still there under the other name.
                let _ = fs::rename(&aside, &self.target);
                return Err(failed(error));
            }
            let removed = if aside.is_dir() { fs::remove_dir_all(&aside) } else { fs::remove_file(&aside) };
            if let Err(error) = removed {
                tracing::warn!("{}, which was replaced, cannot be removed: {error}", aside.display());
            }
        } else {
            fs::rename(self.folder(), &self.target).map_err(failed)?;
        }
        sync_folder(&self.parent).map_err(failed)?;
        // It has another name now: there is nothing left to remove.
        let _ = self.partial.keep();
        Ok(())
    }
}

/// Whether `--overwrite` may remove what is there: a model folder, or an empty one. A mistyped `--out` must not
/// cost anyone their home folder.
fn may_be_replaced(target: &Path) -> bool {
    target.join("config.json").is_file()
        || fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none())
}

/// A temporary folder is its owner's alone; a model is as readable as other folders.
fn open_to_others(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    let _ = folder;
    Ok(())
}

/// Brings a folder's entries to the disk, where the system can.
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    let _ = folder;
    Ok(())
}
