//! Where plugin libraries are looked for.

use super::PluginError;
use espalier_base::text::did_you_mean;
use etcetera::BaseStrategy;
use std::{
    collections::BTreeMap,
    env,
    env::consts::{DLL_EXTENSION, DLL_PREFIX},
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The environment variable that lists folders to look in first, separated as in `PATH`.
pub(super) const PLUGIN_PATH: &str = "ESPALIER_PLUGIN_PATH";

/// The library that `--plugin NAME` means: a path as it stands, or a name such as `wanda` or
/// `libwanda.so` in `ESPALIER_PLUGIN_PATH`, beside the binary, or in the user's data folder.
///
/// # Errors
/// There is no such file.
pub fn find(name: &str) -> Result<PathBuf, PluginError> {
    let path = Path::new(name);
    if path.components().count() > 1 {
        if path.is_file() {
            return Ok(path.to_owned());
        }
        let places = vec![path.parent().unwrap_or(path).to_owned()];
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(PluginError::NotFound { name: name.to_owned(), file, places, hint: String::new() });
    }
    let file = file_name(name);
    let places = places();
    let mut found = places.iter().map(|place| place.join(&file)).filter(|path| path.is_file());
    if let Some(path) = found.next() {
        if let Some(hidden) = found.find(|other| !is_same(other, &path)) {
            let (used, hidden) = (path.display(), hidden.display());
            tracing::warn!("{used} is used; it hides {hidden}, which has the same name");
        }
        return Ok(path);
    }
    drop(found);
    let names = available();
    let names = names.iter().filter_map(|path| path.file_stem()?.to_str()?.strip_prefix(DLL_PREFIX));
    let hint = did_you_mean(name, names);
    Err(PluginError::NotFound { name: name.to_owned(), file, places, hint })
}

/// Whether two paths lead to one file.
fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Every dynamic library in the places that plugins are looked for, by file name; the first place wins.
pub fn available() -> Vec<PathBuf> {
    everywhere().into_values().filter_map(|paths| paths.into_iter().next()).collect()
}

/// Every library that is hidden by another of the same name, and that other one.
pub fn hidden() -> Vec<(PathBuf, PathBuf)> {
    let pairs = everywhere().into_values().flat_map(|paths| {
        let first = paths[0].clone();
        paths.into_iter().skip(1).map(move |path| (path, first.clone()))
    });
    pairs.filter(|(path, by)| !is_same(path, by)).collect()
}

/// The libraries of each file name, in the order of the places.
fn everywhere() -> BTreeMap<OsString, Vec<PathBuf>> {
    let mut found: BTreeMap<_, Vec<PathBuf>> = BTreeMap::new();
    for place in places() {
        let Ok(entries) = place.read_dir() else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_library = path.is_file() && path.extension().is_some_and(|ext| ext == DLL_EXTENSION);
            if let (true, Some(file)) = (is_library, path.file_name()) {
                found.entry(file.to_owned()).or_default().push(path);
            }
        }
    }
    found
}

/// `wanda` → `libwanda.so`, `libwanda.dylib` or `wanda.dll`; a name with the extension stays.
fn file_name(name: &str) -> String {
    if Path::new(name).extension().is_some_and(|extension| extension == DLL_EXTENSION) {
        return name.to_owned();
    }
    format!("{DLL_PREFIX}{name}.{DLL_EXTENSION}")
}

fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        env::var_os(PLUGIN_PATH).map(|list| env::split_paths(&list).collect()).unwrap_or_default();
    let beside = env::current_exe().ok().and_then(|binary| Some(binary.parent()?.to_owned()));
    places.extend(beside);
    let data =
        etcetera::choose_base_strategy().ok().map(|dirs| dirs.data_dir().join("espalier").join("plugins"));
    places.extend(data);
    places.retain(|place| !place.as_os_str().is_empty());
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_becomes_a_file_name() {
        let file = format!("{DLL_PREFIX}wanda.{DLL_EXTENSION}");
        assert_eq!(file_name("wanda"), file);
        assert_eq!(file_name(&file), file);
    }

    #[test]
    fn a_missing_plugin_names_the_places() {
        let error = find("no-such-plugin").unwrap_err().to_string();
        assert!(error.contains("no-such-plugin") && error.contains("looked for"), "{error}");
        assert!(
            find("./no/such/libplugin.so").unwrap_err().to_string().contains("libplugin.so in ./no/such")
        );
    }
}
