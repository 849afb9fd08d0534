//! The local cache of the Hugging Face hub: `models--ORG--NAME` and `datasets--ORG--NAME`, each with `snapshots/REVISION` and
//! `refs/main`.

use crate::files::{self, Limit};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Why a repository of the cache has no snapshot to use.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The reference to the main branch is missing or leads nowhere.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// Several snapshots that were fetched by their commits.
    #[error("there are {} snapshots, and no refs/main", .0.len())]
    Several(Vec<PathBuf>),
}

/// The folder of the cache: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
pub fn cache() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(at_home);
    let cache = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter().find_map(set);
    cache.or_else(|| Some(set("HF_HOME")?.join("hub"))).unwrap_or_else(|| {
        let home = etcetera::home_dir().unwrap_or_default();
        set("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("huggingface/hub")
    })
}

/// A path in which `~` at the beginning is the home folder, as huggingface_hub takes it.
fn at_home(path: OsString) -> PathBuf {
    let path = PathBuf::from(path);
    match (path.strip_prefix("~"), etcetera::home_dir()) {
        (Ok(rest), Ok(home)) => home.join(rest),
        _ => path,
    }
}

/// Whether a text can be a part of a repository's name.
pub fn is_part(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\\'])
}

/// The snapshot of a repository's main branch; the only one there is where it was fetched by its commit.
///
/// # Errors
/// See [`SnapshotError`].
pub fn snapshot(repository: &Path) -> Result<PathBuf, SnapshotError> {
    let missing = |path: &Path| SnapshotError::Missing(path.to_owned());
    let (all, reference) = (repository.join("snapshots"), repository.join("refs/main"));
    if let Ok(revision) = files::read_text(&reference, Limit::CONFIG) {
        let snapshot = all.join(revision.trim());
        return if snapshot.is_dir() { Ok(snapshot) } else { Err(missing(&snapshot)) };
    }
    let found = fs::read_dir(&all).map_err(|_| missing(&reference))?;
    let mut snapshots: Vec<_> =
        found.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    snapshots.sort();
    match snapshots.len() {
        0 => Err(missing(&reference)),
        1 => Ok(snapshots.remove(0)),
        _ => Err(SnapshotError::Several(snapshots)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_is_meant_by_its_sign() {
        assert_eq!(at_home("/a/~".into()), Path::new("/a/~"));
        assert_eq!(at_home("~/hub".into()), etcetera::home_dir().unwrap().join("hub"));
    }
}
