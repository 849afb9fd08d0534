//! Whether others than the user could have put a library where it is.
//!
//! A library may be changed by the owner of its file or its folder, so these must be the user, root, or the owner of
//! this binary, who could change that as well; and neither is open to everybody. On systems without owners and modes
//! of Unix, nothing is checked.

use super::PluginError;
use std::path::Path;

/// Refuses a library whose file or folder is open to others.
///
/// # Errors
/// [`PluginError::Unsafe`], which says how to mend it.
pub(super) fn check(library: &Path) -> Result<(), PluginError> {
    let Ok(file) = library.canonicalize() else {
        // Opening it says why.
        return Ok(());
    };
    let places = [Some(file.as_path()), file.parent()];
    for place in places.into_iter().flatten() {
        if let Some(message) = complaint(place) {
            return Err(PluginError::Unsafe { path: library.to_owned(), message });
        }
    }
    Ok(())
}

/// Whether a library is one that came with this binary: it is in the binary's folder.
pub(super) fn is_shipped(library: &Path) -> bool {
    let binary = std::env::current_exe().and_then(|binary| binary.canonicalize());
    match (library.canonicalize(), binary) {
        (Ok(library), Ok(binary)) => library.parent() == binary.parent(),
        _ => false,
    }
}

/// A problem with a file or folder.
#[cfg(unix)]
pub(super) fn complaint(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let meta = path.metadata().ok()?;
    let (shown, user) = (path.display(), rustix::process::geteuid().as_raw());
    if meta.mode() & 0o002 != 0 {
        return Some(format!("everybody may write to {shown}; mend it with: chmod o-w '{shown}'"));
    }
    let of_binary =
        || std::env::current_exe().and_then(|binary| binary.metadata()).ok().map(|meta| meta.uid());
    let owner = meta.uid();
    if owner != 0 && owner != user && of_binary() != Some(owner) {
        return Some(format!(
            "{shown} belongs to another user (number {owner}), who may change it; copy the library to a folder of \
             your own"
        ));
    }
    None
}

/// A problem with a file or folder: unknown on this system.
#[cfg(not(unix))]
pub(super) fn complaint(_: &Path) -> Option<String> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn what_everybody_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libplugin.so");
        fs::write(&library, "").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&library, 0o644);
        assert!(check(&library).is_ok());
        mode(&library, 0o646);
        let error = check(&library).unwrap_err().to_string();
        assert!(error.contains("chmod o-w") && error.contains("libplugin.so'"), "{error}");
        mode(&library, 0o644);
        mode(folder.path(), 0o777);
        assert!(check(&library).unwrap_err().to_string().contains("everybody may write"));
        // A link does not lead past the check.
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("liblink.so");
        std::os::unix::fs::symlink(&library, &link).unwrap();
        assert!(check(&link).is_err());
    }
}
