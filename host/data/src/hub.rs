//! Data sets in the local cache of the Hugging Face hub: `datasets--ORG--NAME/snapshots/REVISION`, with a folder for each
//! configuration.

use super::{CalibrationError, Source, folder::files_of};
use espalier_base::hub::{self, SnapshotError};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

impl Source {
    /// Data at a path; where there is nothing, those of a data set in the hub's cache, if `name` is `ORG/NAME` or
    /// `ORG/NAME/CONFIG`. Where no configuration is named, `usual` is taken if the data set has a folder or file of that name,
    /// and all of it otherwise.
    ///
    /// # Errors
    /// There is nothing at this path, and the cache has no such data set, snapshot or configuration.
    pub fn on_disk_or_hub(path: &Path, name: &str, usual: Option<&str>) -> Result<Self, CalibrationError> {
        Self::on_disk_or_in(&hub::cache(), path, name, usual)
    }

    fn on_disk_or_in(
        cache: &Path,
        path: &Path,
        name: &str,
        usual: Option<&str>,
    ) -> Result<Self, CalibrationError> {
        match parts(name) {
            Some(parts) if !path.exists() => dataset(parts, usual, cache).map(Self::new),
            _ => Ok(Self::new(path)),
        }
    }
}

/// The organisation, the name and the configuration that a name has.
fn parts(name: &str) -> Option<(&str, &str, Option<&str>)> {
    let mut parts = name.split('/');
    let (org, dataset, config) = (parts.next()?, parts.next()?, parts.next());
    let is_name =
        parts.next().is_none() && [Some(org), Some(dataset), config].into_iter().flatten().all(hub::is_part);
    is_name.then_some((org, dataset, config))
}

/// The folder or file of a data set's configuration.
fn dataset(
    (org, name, config): (&str, &str, Option<&str>),
    usual: Option<&str>,
    cache: &Path,
) -> Result<PathBuf, CalibrationError> {
    let id = format!("{org}/{name}");
    let repository = cache.join(format!("datasets--{org}--{name}"));
    if !repository.is_dir() {
        return Err(CalibrationError::NotCached { id, repository });
    }
    let snapshot = hub::snapshot(&repository).map_err(|source| CalibrationError::NoSnapshot {
        id: id.clone(),
        advice: match &source {
            SnapshotError::Missing(_) => format!("download it again: hf download {id} --repo-type dataset"),
            SnapshotError::Several(snapshots) => {
                format!("give the folder of one, such as {}", snapshots[0].display())
            }
        },
        source,
    })?;
    // The hub's own copies in Parquet stand in folders of their configuration's name, some below `data`.
    let place = |config: &str| {
        [snapshot.join(config), snapshot.join("data").join(config)].into_iter().find(|path| path.exists())
    };
    match config {
        None => Ok(usual.and_then(place).unwrap_or(snapshot)),
        Some(config) => match place(config) {
            Some(found) => Ok(found),
            None => {
                let found = folders(&snapshot)?;
                Err(CalibrationError::NoConfig { id, config: config.to_owned(), snapshot, found })
            }
        },
    }
}

/// The names of a snapshot's folders with data in them.
fn folders(snapshot: &Path) -> Result<String, CalibrationError> {
    let name = |file: PathBuf| {
        let folder = file.strip_prefix(snapshot).ok()?.parent()?.to_string_lossy().into_owned();
        (!folder.is_empty()).then_some(folder)
    };
    let names: BTreeSet<String> = files_of(snapshot)?.into_iter().filter_map(name).collect();
    if names.is_empty() {
        return Ok("no folder with data".to_owned());
    }
    let shown: Vec<_> = names.iter().take(12).map(String::as_str).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    Ok(format!("{}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A cache with a data set of two configurations.
    fn cache() -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        let snapshot = cache.path().join("datasets--allenai--ai2_arc/snapshots/abc");
        for file in ["ARC-Easy/test-00000-of-00001.jsonl", "ARC-Easy/train.jsonl", "ARC-Challenge/test.jsonl"]
        {
            let path = snapshot.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}\n").unwrap();
        }
        let references = cache.path().join("datasets--allenai--ai2_arc/refs");
        fs::create_dir_all(&references).unwrap();
        fs::write(references.join("main"), "abc").unwrap();
        cache
    }

    #[test]
    fn a_configuration_is_found_by_its_name_or_the_usual_one() {
        let cache = cache();
        let find = |name: &str, usual: Option<&str>| {
            let found = Source::on_disk_or_in(cache.path(), Path::new(name), name, usual);
            found.map_err(|error| error.to_string())
        };
        let found = |name: &str, usual: Option<&str>| find(name, usual).unwrap().path;
        assert!(found("allenai/ai2_arc", Some("ARC-Easy")).ends_with("abc/ARC-Easy"));
        assert!(found("allenai/ai2_arc/ARC-Challenge", Some("ARC-Easy")).ends_with("abc/ARC-Challenge"));
        assert!(found("allenai/ai2_arc", Some("other")).ends_with("snapshots/abc"));
        let split = find("allenai/ai2_arc", Some("ARC-Easy")).unwrap().split("test").unwrap();
        assert!(split[0].path.ends_with("ARC-Easy/test-00000-of-00001.jsonl"));
        // A path that is there is what it is; what can be no data set stays a path.
        let here = cache.path().join("datasets--allenai--ai2_arc");
        let on_disk = Source::on_disk_or_in(cache.path(), &here, "allenai/ai2_arc", None);
        assert_eq!(on_disk.unwrap().path, here);
        assert_eq!(found("./none.jsonl", None), Path::new("./none.jsonl"));

        let says = |name: &str| find(name, None).unwrap_err();
        let message = says("allenai/ai2_arc/ARC-Hard");
        assert!(message.contains("no ARC-Hard") && message.contains("ARC-Challenge, ARC-Easy"), "{message}");
        let message = says("allenai/other");
        assert!(message.contains("datasets--allenai--other"), "{message}");
        assert!(message.contains("hf download allenai/other --repo-type dataset"), "{message}");
        fs::write(here.join("refs/main"), "gone").unwrap();
        assert!(says("allenai/ai2_arc").contains("no snapshot"), "{}", says("allenai/ai2_arc"));
        fs::remove_file(here.join("refs/main")).unwrap();
        assert!(found("allenai/ai2_arc", None).ends_with("snapshots/abc"));
    }
}
