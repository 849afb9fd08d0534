//! `model.safetensors.index.json`: which shard each tensor is in.

use super::{CheckpointError, Shard};
use espalier_base::files::{self, Limit};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

/// The index's usual name.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// A shard index.
pub(super) struct Index {
    path: PathBuf,
    /// Tensor name to file name.
    weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: WeightMap,
}

impl Index {
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = files::read(path, Limit::INDEX)
            .map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
        if crate::is_lfs_pointer(&bytes) {
            return Err(CheckpointError::LfsPointer { path: path.to_owned() });
        }
        let raw: RawIndex = serde_json::from_slice(&bytes)
            .map_err(|source| CheckpointError::IndexJson { path: path.to_owned(), source })?;
        let index = Self { path: path.to_owned(), weight_map: raw.weight_map.0 };
        if index.weight_map.is_empty() {
            return Err(index.error("its weight_map is empty".to_owned()));
        }
        for (name, file) in &index.weight_map {
            // A shard is written under its own name, so that must not lead out of the folder.
            if Path::new(file).file_name().is_none_or(|plain| plain != file.as_str()) {
                return Err(
                    index.error(format!("`{name}` is said to be in `{file}`, which is not a file name"))
                );
            }
        }
        Ok(index)
    }

    /// The shards' file names in order, each of which is there.
    pub(super) fn files(&self, dir: &Path) -> Result<Vec<String>, CheckpointError> {
        let files: BTreeSet<&String> = self.weight_map.values().collect();
        let missing: Vec<String> =
            files.iter().filter(|file| !dir.join(file).exists()).map(|file| describe(dir, file)).collect();
        if missing.is_empty() {
            Ok(files.into_iter().cloned().collect())
        } else {
            Err(CheckpointError::MissingShards { index: self.path.clone(), missing })
        }
    }

    /// Where the shards differ from what the index says, by the tensor's name: tensors that only one of the two has. Buffers
    /// come and go like that, and a model that does not use them can be read.
    ///
    /// # Errors
    /// A tensor is in two shards.
    pub(super) fn check(&self, shards: &[Shard]) -> Result<BTreeMap<String, String>, CheckpointError> {
        let mut unsure = BTreeMap::new();
        let mut held = BTreeSet::new();
        for shard in shards {
            for entry in &shard.header.tensors {
                held.insert(entry.name.as_str());
                match self.weight_map.get(&entry.name) {
                    Some(file) if *file == shard.file => {}
                    Some(file) => {
                        let problem =
                            format!("it puts `{}` into {file}, but {} has it too", entry.name, shard.file);
                        return Err(self.error(problem + RESAVE));
                    }
                    None => {
                        let problem =
                            format!("it does not name `{}`, which is in {}", entry.name, shard.file);
                        if unsure.insert(entry.name.clone(), problem + RESAVE).is_some() {
                            return Err(self.error(format!("`{}` is in two shards{RESAVE}", entry.name)));
                        }
                    }
                }
            }
        }
        for (name, file) in self.weight_map.iter().filter(|(name, _)| !held.contains(name.as_str())) {
            unsure.insert(name.clone(), format!("it puts `{name}` into {file}, where it is not{RESAVE}"));
        }
        Ok(unsure)
    }

    fn error(&self, problem: String) -> CheckpointError {
        CheckpointError::Index { path: self.path.clone(), problem }
    }
}

const RESAVE: &str = "; fetch both again, or save the model anew with save_pretrained()";

/// A missing file, or a link that leads nowhere.
fn describe(dir: &Path, file: &str) -> String {
    match fs::read_link(dir.join(file)) {
        Ok(target) => format!("{file} (a link to {}, which is not there)", target.display()),
        Err(_) => file.to_owned(),
    }
}

/// Tensor name to file name, no name twice.
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensor names and file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut names = BTreeMap::new();
                while let Some((name, file)) = map.next_entry::<String, String>()? {
                    if names.insert(name.clone(), file).is_some() {
                        return Err(serde::de::Error::custom(format_args!("`{name}` comes twice")));
                    }
                }
                Ok(WeightMap(names))
            }
        }

        deserializer.deserialize_map(Names)
    }
}
