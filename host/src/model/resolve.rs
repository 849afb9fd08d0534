//! Which folder `--model` means: a path, or a snapshot in the local Hugging Face cache.

use crate::files::{self, Limit};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
};

/// Why there is no model of a name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Neither a folder nor a name.
    #[error("there is no folder {0}, and that is no ORG/NAME of a model in the Hugging Face cache either")]
    NoFolder(String),
    /// The cache does not have it.
    #[error(
        "there is no folder {name}, and no such model in the Hugging Face cache ({}): download it first, for \
         example with `hf download {name}`", .cache.display()
    )]
    NotCached {
        /// What was asked for.
        name: String,
        /// The cache that was looked in.
        cache: PathBuf,
    },
    /// The cache's reference to the main branch is missing or leads nowhere.
    #[error("the cache of {name} has no snapshot of its main branch ({}): download it again", .path.display())]
    NoSnapshot {
        /// The model.
        name: String,
        /// What is missing.
        path: PathBuf,
    },
    /// A snapshot that was not downloaded whole.
    #[error("the snapshot {} is not whole, it lacks {}: download it again", .path.display(), .missing.join(", "))]
    Incomplete {
        /// The snapshot.
        path: PathBuf,
        /// The missing files.
        missing: Vec<String>,
    },
}

/// The folder of a model: a path that exists, or the main snapshot of `ORG/NAME` in the Hugging Face cache
/// (`HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`), with every shard there.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve(name: &str) -> Result<PathBuf, ResolveError> {
    resolve_in(name, &cache())
}

fn resolve_in(name: &str, cache: &Path) -> Result<PathBuf, ResolveError> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    let part = |text: &str| !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\\']);
    let Some((org, model)) = name.split_once('/').filter(|(org, model)| part(org) && part(model)) else {
        return Err(ResolveError::NoFolder(name.to_owned()));
    };
    let repository = cache.join(format!("models--{org}--{model}"));
    if !repository.is_dir() {
        return Err(ResolveError::NotCached { name: name.to_owned(), cache: cache.to_owned() });
    }
    let no_snapshot = |path: &Path| ResolveError::NoSnapshot { name: name.to_owned(), path: path.to_owned() };
    let reference = repository.join("refs/main");
    let revision = files::read_text(&reference, Limit::CONFIG).map_err(|_| no_snapshot(&reference))?;
    let snapshot = repository.join("snapshots").join(revision.trim());
    if !snapshot.is_dir() {
        return Err(no_snapshot(&snapshot));
    }
    let missing = missing_files(&snapshot);
    if missing.is_empty() { Ok(snapshot) } else { Err(ResolveError::Incomplete { path: snapshot, missing }) }
}

fn cache() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE").or_else(|| Some(set("HF_HOME")?.join("hub"))).unwrap_or_else(|| {
        let home = etcetera::home_dir().unwrap_or_default();
        set("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("huggingface/hub")
    })
}

/// Files that a snapshot should have: its configuration, and every shard its index names. A link of the cache
/// whose target is gone counts as missing.
fn missing_files(snapshot: &Path) -> Vec<String> {
    let mut needed = BTreeSet::from(["config.json".to_owned()]);
    match files::read(&snapshot.join("model.safetensors.index.json"), Limit::INDEX) {
        Ok(index) => {
            let index: Value = serde_json::from_slice(&index).unwrap_or_default();
            let shards = index["weight_map"].as_object().into_iter().flat_map(|map| map.values());
            needed.extend(shards.filter_map(|shard| shard.as_str().map(str::to_owned)));
        }
        Err(_) => {
            needed.insert("model.safetensors".to_owned());
        }
    }
    needed.into_iter().filter(|file| !snapshot.join(file).exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn cache_with(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--org--name");
        let snapshot = repository.join("snapshots/abc");
        fs::create_dir_all(repository.join("refs")).unwrap();
        fs::create_dir_all(&snapshot).unwrap();
        fs::write(repository.join("refs/main"), "abc").unwrap();
        for file in files {
            fs::write(snapshot.join(file), "{}").unwrap();
        }
        (cache, snapshot)
    }

    #[test]
    fn a_folder_wins() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().to_str().unwrap();
        assert_eq!(resolve_in(name, Path::new("nowhere")).unwrap(), folder.path());
    }

    #[test]
    fn a_whole_snapshot_is_found() {
        let (cache, snapshot) = cache_with(&["config.json", "model.safetensors"]);
        assert_eq!(resolve_in("org/name", cache.path()).unwrap(), snapshot);
    }

    #[test]
    fn missing_shards_are_named() {
        let (cache, snapshot) = cache_with(&["config.json", "a.safetensors"]);
        let index = r#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors", "z": "c.safetensors"}}"#;
        fs::write(snapshot.join("model.safetensors.index.json"), index).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("gone", snapshot.join("c.safetensors")).unwrap();
        let error = resolve_in("org/name", cache.path()).unwrap_err().to_string();
        assert!(error.contains("lacks b.safetensors, c.safetensors"), "{error}");
    }

    #[test]
    fn what_is_not_there_says_where_it_was_looked_for() {
        let (cache, _) = cache_with(&[]);
        let says = |name: &str| resolve_in(name, cache.path()).unwrap_err().to_string();
        assert!(says("org/other").contains("hf download org/other"));
        assert!(says("./missing").contains("no folder ./missing"));
        assert!(says("org/name").contains("lacks config.json, model.safetensors"));
        fs::remove_file(cache.path().join("models--org--name/refs/main")).unwrap();
        assert!(says("org/name").contains("refs/main"));
    }
}
