//! The user's list of trusted libraries: `espalier/trusted-plugins` in the configuration folder, a line each of the
//! file's SHA-256, the day it was trusted, and where it was. The hash alone counts.

use super::{PluginError, load::digest, safety};
use etcetera::BaseStrategy;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// A trusted library.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Trusted {
    /// The SHA-256 of its file, in hex.
    pub sha256: String,
    /// The day it was trusted, as in 2024-02-29.
    pub date: String,
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
    /// The user's list; empty where there is none.
    ///
    /// # Errors
    /// There is no configuration folder, or the list cannot be read, has a line that is none, or may be changed by
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
        let text = match fs::read_to_string(&file) {
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
                parse(line).ok_or_else(|| invalid(format!("line {} is no hash, day and path", at + 1)))?;
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
        let trusted = Trusted { sha256, date: day(SystemTime::now()), path };
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

    /// Writes the whole list beside the old one, then puts it in its place.
    fn write(&self) -> Result<(), PluginError> {
        let text: String =
            self.entries.iter().map(|e| format!("{}  {}  {}\n", e.sha256, e.date, e.path)).collect();
        let write = || {
            let folder = self.file.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&self.file).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| PluginError::TrustList { path: self.file.clone(), source })
    }
}

fn parse(line: &str) -> Option<Trusted> {
    let mut parts = line.splitn(3, "  ").map(str::to_owned);
    let (sha256, date, path) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then_some(Trusted { sha256, date, path })
}

/// The day of a time, by the Gregorian calendar, in UTC.
fn day(time: SystemTime) -> String {
    let days = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    // Eras of 400 years that begin on the first of March, so that leap days are last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{date:02}", era * 400 + year + next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(UNIX_EPOCH + Duration::from_secs(seconds)), date);
        }
    }

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
        assert!(crate::cause::causes(&error).join(": ").contains("line 1"), "{error}");
    }
}
