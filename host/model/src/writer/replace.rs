//! What `--overwrite` may replace: an unchanged output of this program, a folder or an archive, or an empty folder.

use super::disk;
use crate::archive;
use espalier_base::hash::{self, Hashed};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::Path,
};

/// The manifest's file name in an output.
pub const MANIFEST: &str = "espalier.json";

/// Files up to this length are compared by their hash, larger ones by their length.
const HASHED: u64 = 1 << 20;

/// The part of a manifest that says which files belong to an output.
#[derive(Deserialize)]
struct Files {
    files: BTreeMap<String, FileRecord>,
}

/// A file of an output, as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct FileRecord {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

/// Why something is not replaced; `None` where it may be.
pub(super) fn obstacle(target: &Path) -> Option<String> {
    let Ok(meta) = fs::symlink_metadata(target) else { return None };
    if meta.is_symlink() {
        return Some("it is a link".to_owned());
    }
    if meta.is_file() {
        return not_as_packed(target);
    }
    if !meta.is_dir() {
        return Some("it is not a folder".to_owned());
    }
    if disk::is_empty(target) {
        return None;
    }
    let files = match listed(target) {
        Ok(files) => files,
        Err(why) => return Some(why),
    };
    foreign(target, "", &files)
}

/// Why a file is not an archive that this program made of an output, as it was written.
fn not_as_packed(file: &Path) -> Option<String> {
    let Ok(files) = archive::files_in(file) else {
        return Some("it is neither a folder nor an archive of this program".to_owned());
    };
    let Some(manifest) = files.get(MANIFEST) else {
        return Some(format!("it has no {MANIFEST}, so it is not an output of this program"));
    };
    let listed = match files_of(manifest) {
        Ok(listed) => listed,
        Err(why) => return Some(why),
    };
    let changed = files.iter().find(|(name, bytes)| match listed.get(*name) {
        Some(Some(record)) => {
            record.bytes != bytes.len() as u64 || (record.bytes <= HASHED && hash::of(bytes) != record.sha256)
        }
        Some(None) => false,
        None => true,
    });
    changed.map(|(name, _)| format!("{name} in it was changed since it was written"))
}

/// The files that the manifest in a folder lists, itself among them with no record.
fn listed(folder: &Path) -> Result<BTreeMap<String, Option<FileRecord>>, String> {
    let path = folder.join(MANIFEST);
    if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
        return Err(format!("it has no {MANIFEST}, so it is not an output of this program"));
    }
    let read = fs::read(&path).map_err(|error| format!("its {MANIFEST} cannot be read: {error}"))?;
    files_of(&read)
}

/// The files that a manifest lists, itself among them with no record.
fn files_of(manifest: &[u8]) -> Result<BTreeMap<String, Option<FileRecord>>, String> {
    let manifest: Files = serde_json::from_slice(manifest)
        .map_err(|_| format!("its {MANIFEST} does not list the files that were written"))?;
    let files = manifest.files.into_iter().map(|(name, record)| (name, Some(record)));
    Ok(files.chain([(MANIFEST.to_owned(), None)]).collect())
}

/// The first thing in a folder that was not written by this program, or was changed since.
fn foreign(folder: &Path, prefix: &str, files: &BTreeMap<String, Option<FileRecord>>) -> Option<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return Some(format!("it cannot be read: {error}")),
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().find_map(|path| {
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        let below = format!("{name}/");
        match (fs::symlink_metadata(&path), files.get(&name)) {
            (Err(error), _) => Some(format!("{name} cannot be read: {error}")),
            (Ok(meta), _) if meta.is_dir() && files.keys().any(|file| file.starts_with(&below)) => {
                foreign(&path, &below, files)
            }
            (Ok(meta), Some(record)) if meta.is_file() => match record {
                Some(record) if !unchanged(&path, meta.len(), record) => {
                    Some(format!("{name} was changed since it was written"))
                }
                _ => None,
            },
            _ => Some(format!("{name} is not a file that this program wrote")),
        }
    })
}

fn unchanged(path: &Path, length: u64, record: &FileRecord) -> bool {
    let same_hash = || {
        File::open(path).and_then(|file| Hashed::new(file).finish()).is_ok_and(|hash| hash == record.sha256)
    };
    length == record.bytes && (length > HASHED || same_hash())
}

/// Removes an output: an archive, or of a folder the files that its manifest lists, and folders that are empty then. What else is in it stays.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    if folder.is_file() {
        return fs::remove_file(folder);
    }
    if disk::is_empty(folder) {
        return fs::remove_dir(folder);
    }
    let files = listed(folder).map_err(io::Error::other)?;
    // The manifest last: as long as it is there, the folder is known to be ours.
    for name in files.keys().filter(|name| *name != MANIFEST) {
        remove_file(&folder.join(name))?;
        if let Some((inner, _)) = name.rsplit_once('/') {
            let _ = fs::remove_dir(folder.join(inner));
        }
    }
    remove_file(&folder.join(MANIFEST))?;
    fs::remove_dir(folder)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_base::hash::hex;
    use sha2::{Digest, Sha256};

    /// A folder with an output in it: two files and the manifest.
    fn output() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut files = BTreeMap::new();
        for (name, text) in [("config.json", "{}"), ("templates/a.jinja", "hello")] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            let sha256 = hex(Sha256::new_with_prefix(text));
            files.insert(name, FileRecord { bytes: text.len() as u64, sha256 });
        }
        let manifest = serde_json::json!({ "format": 2, "files": files });
        fs::write(folder.path().join(MANIFEST), manifest.to_string()).unwrap();
        folder
    }

    #[test]
    fn an_output_may_be_replaced_as_long_as_it_is_as_written() {
        assert_eq!(obstacle(output().path()), None);
        assert_eq!(obstacle(tempfile::tempdir().unwrap().path()), None);
        type Change = fn(&Path);
        let changes: [(Change, &str); 6] = [
            (|folder| fs::write(folder.join("notes.txt"), "mine").unwrap(), "notes.txt is not a file"),
            (|folder| fs::create_dir(folder.join("nested")).unwrap(), "nested is not a file"),
            (|folder| fs::write(folder.join("templates/b.jinja"), "").unwrap(), "templates/b.jinja is not"),
            (|folder| fs::write(folder.join("config.json"), "[]").unwrap(), "config.json was changed"),
            (|folder| fs::remove_file(folder.join(MANIFEST)).unwrap(), "no espalier.json"),
            (|folder| fs::write(folder.join(MANIFEST), "{}").unwrap(), "does not list"),
        ];
        for (change, words) in changes {
            let folder = output();
            change(folder.path());
            let why = obstacle(folder.path()).unwrap_or_default();
            assert!(why.contains(words), "`{why}` for {words}");
        }
    }

    #[test]
    fn only_what_was_written_is_removed() {
        let folder = output();
        let path = folder.keep();
        remove(&path).unwrap();
        assert!(!path.exists());
        let folder = output();
        fs::write(folder.path().join("late.txt"), "mine").unwrap();
        assert!(remove(folder.path()).is_err());
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["late.txt"]);
    }
}
