//! SHA-256 of models and data, by which a cell knows what it was made of. A file is read once and remembered
//! by its size and its time of change.

use super::{Result, StudyError, folder};
use espalier_base::{
    files::{self, Limit},
    hash::{Hashed, hex},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The files of a model folder that determine its outputs.
const MODEL_FILES: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// A file that changed so shortly before it was read may change again within the same tick of its clock.
const SETTLED: Duration = Duration::from_secs(2);

/// Digests of files, those of earlier runs among them.
pub(super) struct Digests {
    cache: PathBuf,
    known: BTreeMap<PathBuf, Known>,
    changed: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    changed: SystemTime,
    /// The time and number that the system keeps of it, which nobody sets.
    #[serde(default)]
    system: (i64, i64, u64),
    sha256: String,
}

impl Digests {
    /// Digests that are remembered in this file; one that is not there or not readable remembers nothing.
    pub(super) fn open(cache: PathBuf) -> Self {
        let known =
            files::read(&cache, Limit::RECORD).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { cache, known: known.unwrap_or_default(), changed: false }
    }

    /// Writes down what is known, if it is more than before and its folder is there.
    pub(super) fn save(&self) -> Result<()> {
        if !self.changed || !self.cache.parent().is_some_and(Path::is_dir) {
            return Ok(());
        }
        folder::write_json(&self.cache, &self.known)
    }

    /// The digest of a model's folder or archive.
    pub(super) fn model(&mut self, folder: &Path) -> Result<String> {
        if folder.is_file() {
            return self.file(folder);
        }
        let names = list(folder)?;
        let of_model =
            |name: &&String| MODEL_FILES.contains(&name.as_str()) || name.ends_with(".safetensors");
        self.files(folder, names.iter().filter(of_model))
    }

    /// The digest of a file, or of all files in a folder.
    pub(super) fn data(&mut self, path: &Path) -> Result<String> {
        if path.is_dir() { self.files(path, list(path)?.iter()) } else { self.file(path) }
    }

    fn files<'a>(&mut self, folder: &Path, names: impl Iterator<Item = &'a String>) -> Result<String> {
        let mut hash = Sha256::new();
        for name in names {
            hash.update(format!("{}  {name}\n", self.file(&folder.join(name))?));
        }
        Ok(hex(hash))
    }

    fn file(&mut self, path: &Path) -> Result<String> {
        let unread = |source| StudyError::Read { path: path.to_owned(), source };
        let path_now = path.canonicalize().map_err(unread)?;
        let meta = fs::metadata(&path_now).map_err(unread)?;
        let (bytes, changed) = (meta.len(), meta.modified().map_err(unread)?);
        #[cfg(unix)]
        let system = {
            use std::os::unix::fs::MetadataExt;
            (meta.ctime(), meta.ctime_nsec(), meta.ino())
        };
        #[cfg(not(unix))]
        let system = (0, 0, 0);
        if let Some(known) = self.known.get(&path_now)
            && (known.bytes, known.changed, known.system) == (bytes, changed, system)
        {
            return Ok(known.sha256.clone());
        }
        let file = files::open(&path_now).map_err(unread)?;
        let sha256 = Hashed::new(file).finish().map_err(unread)?;
        if changed.elapsed().is_ok_and(|age| age > SETTLED) {
            self.known.insert(path_now, Known { bytes, changed, system, sha256: sha256.clone() });
            self.changed = true;
        }
        Ok(sha256)
    }
}

/// Every file in a folder and below, by its name from there, in order.
fn list(folder: &Path) -> Result<Vec<String>> {
    let found = files::walk(folder, &|_| true).map_err(|(path, source)| StudyError::Read { path, source })?;
    let mut names: Vec<_> = found
        .iter()
        .filter_map(|path| Some(path.strip_prefix(folder).ok()?.to_string_lossy().replace('\\', "/")))
        .collect();
    names.sort();
    Ok(names)
}

/// The hash of settings: the first 16 digits of the SHA-256 of their JSON, keys in order.
pub(super) fn of_settings(settings: &serde_json::Value) -> String {
    let mut text = hex(Sha256::new_with_prefix(settings.to_string()));
    text.truncate(16);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_contents_and_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (model, cache) = (folder.path().join("model"), folder.path().join("digests.json"));
        fs::create_dir(&model).unwrap();
        let write = |name: &str, text: &str| {
            let path = model.join(name);
            fs::write(&path, text).unwrap();
            let settled = SystemTime::now() - Duration::from_secs(60);
            fs::File::options().write(true).open(path).unwrap().set_modified(settled).unwrap();
        };
        write("config.json", "{}");
        write("model.safetensors", "weights");
        let mut digests = Digests::open(cache.clone());
        let first = digests.model(&model).unwrap();
        digests.save().unwrap();
        assert!(Digests::open(cache.clone()).known.len() == 2);
        write("README.md", "decides nothing");
        assert_eq!(Digests::open(cache.clone()).model(&model).unwrap(), first);
        write("model.safetensors", "weight2");
        assert_ne!(Digests::open(folder.path().join("none.json")).model(&model).unwrap(), first);
        assert_ne!(digests.data(&model).unwrap(), first);
        assert_eq!(digests.data(&model.join("config.json")).unwrap().len(), 64);
    }

    #[test]
    fn settings_that_are_equal_have_one_hash() {
        let hash = |text: &str| of_settings(&serde_json::from_str(text).unwrap());
        assert_eq!(hash(r#"{"a": 1, "b": [0.5]}"#), hash(r#"{"b":[0.5],"a":1}"#));
        assert_ne!(hash(r#"{"a": 1}"#), hash(r#"{"a": 2}"#));
        assert_eq!(hash("{}").len(), 16);
    }
}
