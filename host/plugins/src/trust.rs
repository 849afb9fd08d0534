//! The user's list of trusted libraries: `espalier/trusted-plugins` in the configuration folder, a line each of the
//! file's SHA-256 and where it was, as `sha256sum` writes them. The hash alone counts.

use super::{PluginError, load::digest, safety};
use espalier_base::{
    files::{self, Limit},
    output,
};
use etcetera::BaseStrategy;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A trusted library.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Trusted {
    /// The SHA-256 of its file, in hex.
    pub sha256: String,
    /// Where it was then.
    pub path: String,
}

/// The list, and the file that it is kept in.
#[derive(Debug)]
pub struct TrustList {
    file: PathBuf,
    entries: Vec<Trusted>,
}

impl TrustList {
    /// The user's list; empty if the file does not exist.
    ///
    /// # Errors
    /// There is no configuration folder, or the list cannot be read, has a line that is not a hash, or may be changed by
    /// others.
    pub fn open() -> Result<Self, PluginError> {
        let folders = etcetera::choose_base_strategy().map_err(|error| PluginError::TrustList {
            path: PathBuf::from("espalier/trusted-plugins"),
            source: io::Error::other(error),
        })?;
        Self::read(folders.config_dir().join("espalier").join("trusted-plugins"))
    }

    fn read(file: PathBuf) -> Result<Self, PluginError> {
        let unusable = |source| PluginError::TrustList { path: file.clone(), source };
        let invalid = |message: String| unusable(io::Error::new(io::ErrorKind::InvalidData, message));
        let text = match files::read_text(&file, Limit::SETTINGS) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unusable(error)),
        };
        if let Some(message) = safety::complaint(&file) {
            return Err(invalid(message));
        }
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry =
                parse(line).ok_or_else(|| invalid(format!("line {} is not a hash and a path", at + 1)))?;
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// The file that the list is kept in.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// All that is trusted.
    pub fn entries(&self) -> &[Trusted] {
        &self.entries
    }

    /// Whether a file of this hash is trusted.
    pub fn has(&self, sha256: &str) -> bool {
        self.entries.iter().any(|entry| entry.sha256 == sha256)
    }

    /// Trusts a library as it is now. Nothing of it is run.
    ///
    /// # Errors
    /// It cannot be read, it may be changed by others, or the list cannot be written.
    pub fn add(&mut self, library: &Path) -> Result<Trusted, PluginError> {
        safety::check(library)?;
        let sha256 = digest(library)?;
        let path = library.canonicalize().unwrap_or_else(|_| library.to_owned());
        // A line each: a path is there to be read, and its control characters are not.
        let path = path.to_string_lossy().replace(char::is_control, "?");
        let trusted = Trusted { sha256, path };
        self.entries.retain(|entry| entry.sha256 != trusted.sha256);
        self.entries.push(trusted.clone());
        self.write()?;
        Ok(trusted)
    }

    /// Takes a hash, or the beginning of one, from the list. The answer is what was taken.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn remove(&mut self, sha256: &str) -> Result<Vec<Trusted>, PluginError> {
        let (gone, kept): (Vec<_>, _) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.sha256.starts_with(sha256));
        self.entries = kept;
        if !gone.is_empty() {
            self.write()?;
        }
        Ok(gone)
    }

    /// Writes the whole list.
    fn write(&self) -> Result<(), PluginError> {
        let failed = |source| PluginError::TrustList { path: self.file.clone(), source };
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        output::write(&self.file, true, |out| {
            self.entries.iter().try_for_each(|entry| writeln!(out, "{}  {}", entry.sha256, entry.path))
        })?;
        Ok(())
    }
}

fn parse(line: &str) -> Option<Trusted> {
    let (sha256, path) = line.split_once("  ")?;
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then(|| Trusted { sha256: sha256.to_owned(), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_kept_and_a_changed_library_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let (file, library) = (folder.path().join("config/trusted-plugins"), folder.path().join("lib a.so"));
        let mut list = TrustList::read(file.clone()).unwrap();
        fs::write(&library, "one").unwrap();
        let trusted = list.add(&library).unwrap();
        list.add(&library).unwrap();
        let again = TrustList::read(file.clone()).unwrap();
        assert_eq!(again.entries(), std::slice::from_ref(&trusted));
        assert!(again.has(&trusted.sha256) && trusted.path.ends_with("lib a.so"));
        fs::write(&library, "two").unwrap();
        assert!(!again.has(&digest(&library).unwrap()));
        assert_eq!(list.remove(&trusted.sha256[..12]).unwrap(), [trusted]);
        assert!(TrustList::read(file.clone()).unwrap().entries().is_empty());
        assert_eq!(list.remove("00").unwrap(), []);
        fs::write(&file, "nonsense\n").unwrap();
        let error = TrustList::read(file).unwrap_err();
        assert!(espalier_base::cause::causes(&error).join(": ").contains("line 1"), "{error}");
    }
}
