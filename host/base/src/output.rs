//! Files that the program writes for its user: checked before anything long begins, written aside, brought to the disk
//! and put in place when whole.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Why a file is not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// It is there already.
    #[error("{} exists: choose another file, or replace it with --overwrite", .0.display())]
    Exists(PathBuf),
    /// It is a folder, a device or a pipe.
    #[error("{} is not a regular file: choose another file to write to", .0.display())]
    NotAFile(PathBuf),
    /// It is read by the same run.
    #[error("{} is an input of this run: choose another file to write to", .0.display())]
    Input(PathBuf),
    /// It cannot be written.
    #[error("{} cannot be written", .path.display())]
    Write {
        /// The file, or its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Checks that a file can be written: it is not there, or may be replaced and is not one of `inputs`, and files can be made
/// in its folder.
///
/// # Errors
/// See [`OutputError`].
pub fn check<'a>(
    path: &Path,
    overwrite: bool,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), OutputError> {
    if inputs.into_iter().any(|input| is_same(path, input)) {
        return Err(OutputError::Input(path.to_owned()));
    }
    check_target(path, overwrite)?;
    // A file that cannot be made is found now, not when the results are there.
    aside(path).map(drop)
}

fn check_target(path: &Path, overwrite: bool) -> Result<(), OutputError> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(_) if path.exists() && !path.is_file() => Err(OutputError::NotAFile(path.to_owned())),
        Ok(_) if overwrite => Ok(()),
        Ok(_) => Err(OutputError::Exists(path.to_owned())),
    }
}

/// Writes or replaces a file that one process at a time writes: it appears whole or not at all. It is written under its name
/// behind a dot, so that the next run writes over what a run that was killed left there.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{}", name.trim_start_matches('.')));
    let written = fs::File::create(&aside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        sync_folder(path)
    });
    written.map_err(|source| OutputError::Write { path: path.to_owned(), source })
}

/// Writes a file with `fill`: the file appears whole or not at all.
///
/// # Errors
/// It is there and may not be replaced, or cannot be written.
pub fn write(
    path: &Path,
    overwrite: bool,
    fill: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> Result<(), OutputError> {
    check_target(path, overwrite)?;
    let failed = |source| OutputError::Write { path: path.to_owned(), source };
    let mut aside = aside(path)?;
    let mut out = BufWriter::new(aside.as_file_mut());
    fill(&mut out).and_then(|()| out.flush()).map_err(failed)?;
    drop(out);
    aside.as_file().sync_all().map_err(failed)?;
    let placed = if overwrite { aside.persist(path) } else { aside.persist_noclobber(path) };
    placed.map_err(|error| failed(error.error))?;
    sync_folder(path).map_err(failed)
}

/// Makes a folder with `fill`, which is given the folder to put its files into: the folder appears whole or not at all.
///
/// # Errors
/// Something is there, `fill` fails, or the folder cannot be put in place.
pub fn write_folder<E: From<OutputError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(OutputError::Exists(path.to_owned()).into());
    }
    let failed = |source| OutputError::Write { path: path.to_owned(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = tempfile::Builder::new().prefix(&format!(".{name}.partial-")).tempdir_in(folder(path));
    let aside = aside.map_err(failed)?;
    // A folder of its own inside, because the outer one is its user's alone.
    let inner = aside.path().join("folder");
    fs::create_dir(&inner).map_err(failed)?;
    fill(&inner)?;
    fs::rename(&inner, path).and_then(|()| sync_folder(path)).map_err(failed)?;
    Ok(())
}

/// Brings the entry of a new file to the disk, where the system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(folder(path))?.sync_all()?;
    let _ = path;
    Ok(())
}

/// A file in the same folder, with a name of its own and the permissions of any new file.
fn aside(path: &Path) -> Result<tempfile::NamedTempFile, OutputError> {
    let mut options = tempfile::Builder::new();
    #[cfg(unix)]
    let permissions = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    #[cfg(unix)]
    options.permissions(permissions);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.partial-");
    let made = options.prefix(&prefix).tempfile_in(folder(path));
    made.map_err(|source| OutputError::Write { path: path.to_owned(), source })
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether two paths name the same file, also through links.
fn is_same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (fs::metadata(a), fs::metadata(b)) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        write(&path, false, |out| out.write_all(b"first")).unwrap();
        assert!(matches!(write(&path, false, |_| Ok(())), Err(OutputError::Exists(_))));
        let failed = write(&path, true, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(matches!(failed, Err(OutputError::Write { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        write(&path, true, |out| out.write_all(b"second")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_found_before() {
        let folder = tempfile::tempdir().unwrap();
        let (input, new) = (folder.path().join("input"), folder.path().join("new"));
        fs::write(&input, "data").unwrap();
        check(&new, false, [input.as_path()]).unwrap();
        assert!(!new.exists());
        assert!(matches!(check(&input, true, [input.as_path()]), Err(OutputError::Input(_))));
        fs::hard_link(&input, folder.path().join("link")).unwrap();
        let link = folder.path().join("link");
        assert!(matches!(check(&link, true, [input.as_path()]), Err(OutputError::Input(_))));
        assert!(matches!(check(&input, false, []), Err(OutputError::Exists(_))));
        assert!(matches!(check(folder.path(), true, []), Err(OutputError::NotAFile(_))));
        let nowhere = folder.path().join("no/such/folder/file");
        assert!(matches!(check(&nowhere, false, []), Err(OutputError::Write { .. })));
    }

    #[test]
    fn a_file_that_a_killed_run_left_aside_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.json");
        fs::write(folder.path().join(".scores.json"), "half of a longer text").unwrap();
        replace(&path, b"first").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("no/such/file"), b"").is_err());
    }
}
