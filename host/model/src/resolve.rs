//! Which folder `--model` means: a path, or a snapshot in the local Hugging Face cache.

use super::{archive, checkpoint::CheckpointError};
use espalier_base::{
    files::{self, Limit},
    hub::{self, SnapshotError},
    text::shell_quote,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Why a name leads to no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Neither a folder nor a name.
    #[error("there is no folder {0}, and no model ORG/NAME of that name in the Hugging Face cache")]
    NoFolder(String),
    /// A file in place of a folder.
    #[error("{name} is a file; {advice}")]
    File {
        /// The request.
        name: String,
        /// The kind of input, and what to give instead.
        advice: String,
    },
    /// The cache does not have it.
    #[error(
        "there is no folder {name}, and no such model in the Hugging Face cache ({}): download it first, for \
         example with `hf download {name}`", .cache.display()
    )]
    NotCached {
        /// The request.
        name: String,
        /// The cache that was looked in.
        cache: PathBuf,
    },
    /// The cache's reference to the main branch is missing or leads nowhere.
    #[error("the cache of {name} has no snapshot of its main branch ({}): download it again", .path.display())]
    NoSnapshot {
        /// The model.
        name: String,
        /// The missing item.
        path: PathBuf,
    },
    /// Several snapshots that were fetched by their commits.
    #[error(
        "the cache of {name} has no main branch, but {} other snapshots: give the folder of one, such as {}",
        .snapshots.len(),
        .snapshots.first().map(|path| path.display().to_string()).unwrap_or_default()
    )]
    Revisions {
        /// The model.
        name: String,
        /// The snapshots.
        snapshots: Vec<PathBuf>,
    },
    /// An archive that cannot be used.
    #[error(transparent)]
    Archive(Box<CheckpointError>),
    /// A snapshot with weights in PyTorch's format alone.
    #[error("the snapshot {} has its weights in PyTorch's format alone; convert it with: {command}", .path.display())]
    Unconverted {
        /// The snapshot.
        path: PathBuf,
        /// A command that converts it.
        command: String,
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

/// The folder of a model: a path that exists; or an [archive](mod@archive), which is read as if it were a folder; or the main
/// snapshot of `ORG/NAME` in the Hugging Face cache (`HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`), with
/// every shard there.
///
/// # Errors
/// See [`ResolveError`].
pub fn resolve(name: &str) -> Result<PathBuf, ResolveError> {
    resolve_in(name, &hub::cache())
}

fn resolve_in(name: &str, cache: &Path) -> Result<PathBuf, ResolveError> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if archive::is_archive(path) {
        archive::mount(path).map_err(|error| ResolveError::Archive(Box::new(error)))?;
        return Ok(path.to_owned());
    }
    if path.is_file() {
        return Err(ResolveError::File { name: name.to_owned(), advice: instead_of_file(path) });
    }
    let is_name = |(org, model): &(&str, &str)| hub::is_part(org) && hub::is_part(model);
    let Some((org, model)) = name.split_once('/').filter(is_name) else {
        return Err(ResolveError::NoFolder(name.to_owned()));
    };
    let repository = cache.join(format!("models--{org}--{model}"));
    if !repository.is_dir() {
        return Err(ResolveError::NotCached { name: name.to_owned(), cache: cache.to_owned() });
    }
    let snapshot = snapshot(name, &repository)?;
    let missing = missing_files(&snapshot);
    let unconverted = missing == ["model.safetensors"]
        && ["pytorch_model.bin", "pytorch_model.bin.index.json"]
            .iter()
            .any(|file| snapshot.join(file).exists());
    if unconverted {
        let command = conversion(&snapshot);
        return Err(ResolveError::Unconverted { path: snapshot, command });
    }
    if missing.is_empty() { Ok(snapshot) } else { Err(ResolveError::Incomplete { path: snapshot, missing }) }
}

/// The snapshot of a repository's main branch; the only one there is where it was fetched by its commit.
fn snapshot(name: &str, repository: &Path) -> Result<PathBuf, ResolveError> {
    hub::snapshot(repository).map_err(|error| match error {
        SnapshotError::Missing(path) => ResolveError::NoSnapshot { name: name.to_owned(), path },
        SnapshotError::Several(snapshots) => ResolveError::Revisions { name: name.to_owned(), snapshots },
    })
}

/// Advice for a file that was given in place of a model's folder.
fn instead_of_file(path: &Path) -> String {
    let end = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match end.as_str() {
        "gguf" | "ggml" => {
            "this is llama.cpp's format (GGUF): give the folder of the Hugging Face model that it was made from".to_owned()
        }
        "pth" => "this is Meta's own format: give the folder of the model's Hugging Face version".to_owned(),
        _ => format!("give the folder that holds it, with config.json beside the weights: {}", folder.display()),
    }
}

/// A command that writes a model in PyTorch's format anew as safetensors, with its tokenizer, into a folder `CONVERTED`.
pub(super) fn conversion(folder: &Path) -> String {
    // The folder is an argument, so that no quotes of Python's stand around it.
    format!(
        "python -c \"import sys; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; d = sys.argv[1]; \
         M.from_pretrained(d, dtype='auto').save_pretrained('CONVERTED'); \
         T.from_pretrained(d).save_pretrained('CONVERTED')\" {}",
        shell_quote(&folder.to_string_lossy())
    )
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
        let repository = cache.path().join("models--org--name");
        fs::write(repository.join("snapshots/abc/pytorch_model.bin"), "").unwrap();
        fs::write(repository.join("snapshots/abc/config.json"), "{}").unwrap();
        assert!(says("org/name").contains("convert it with: python -c"));
        // Fetched by its commit: the only snapshot is taken, of several one must be named.
        fs::write(repository.join("snapshots/abc/model.safetensors"), "").unwrap();
        fs::remove_file(repository.join("refs/main")).unwrap();
        assert!(resolve_in("org/name", cache.path()).unwrap().ends_with("snapshots/abc"));
        fs::create_dir(repository.join("snapshots/def")).unwrap();
        assert!(says("org/name").contains("2 other snapshots") && says("org/name").contains("snapshots/abc"));
        fs::remove_dir_all(repository.join("snapshots")).unwrap();
        assert!(says("org/name").contains("refs/main"));
        let file = cache.path().join("model.gguf");
        fs::write(&file, "").unwrap();
        assert!(says(file.to_str().unwrap()).contains("llama.cpp's format"));
        let file = repository.join("model.safetensors");
        fs::write(&file, "").unwrap();
        assert!(says(file.to_str().unwrap()).contains("give the folder that holds it"));
    }
}
