//! The files beside the weights.

use super::WriteError;
use crate::model::Checkpoint;
use std::{collections::BTreeSet, ffi::OsStr, fs, path::Path};

/// What is carried along, by extension; files without one (LICENSE, NOTICE) are too. Weights in other formats
/// are not: they would no longer be this model's.
const CARRIED: [&str; 8] = ["json", "model", "txt", "jinja", "tiktoken", "md", "vocab", "py"];

/// Copies the files beside the weights of `source` to `folder`.
pub(super) fn copy(source: &Checkpoint, folder: &Path) -> Result<(), WriteError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError::Read { path, source }
    };
    let shards: BTreeSet<&str> = source.shards().iter().map(|shard| shard.file.as_str()).collect();
    for entry in fs::read_dir(source.dir()).map_err(unreadable(source.dir()))? {
        let path = entry.map_err(unreadable(source.dir()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !path.is_file() || shards.contains(name.as_str()) || !is_carried(&name, source.index()) {
            continue;
        }
        let to = folder.join(if name == "README.md" { "README.original.md" } else { &name });
        let bytes = fs::read(&path).map_err(unreadable(&path))?;
        fs::write(&to, bytes).map_err(|source| WriteError::Write { path: to, source })?;
    }
    Ok(())
}

fn is_carried(name: &str, index: Option<&str>) -> bool {
    // The index of other weights, or what an earlier run said of its own.
    let stale = name.ends_with(".index.json") && Some(name) != index || name == "espalier.json";
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    !stale && !name.starts_with('.') && extension.is_none_or(|extension| CARRIED.contains(&extension))
}
