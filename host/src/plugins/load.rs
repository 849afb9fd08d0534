//! Opening a library, and making its methods and selectors.

use super::PluginError;
use crate::hash::Hashed;
use espalier_sdk::{
    INTERFACE_VERSION, LibraryInfo, MethodInfo, OptionSpec, Options, SelectorInfo,
    abi::{self, LoadedLibrary, LoadedMethod, LoadedSelector},
};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

/// An opened plugin library.
pub struct Library {
    path: PathBuf,
    interface: (u16, u16),
    sha256: String,
    loaded: LoadedLibrary,
}

/// Opens a library after asking it for its interface version.
///
/// # Errors
/// The file cannot be read, or is no library, no plugin, or one of another interface.
pub fn load(path: &Path) -> Result<Library, PluginError> {
    let sha256 = digest(path)?;
    let interface = check_interface(path)?;
    Ok(Library { path: path.to_owned(), interface, sha256, loaded: abi::open(path)? })
}

/// The SHA-256 of a library's file.
fn digest(path: &Path) -> Result<String, PluginError> {
    let hash = File::open(path).and_then(|file| Hashed::new(file).finish());
    hash.map_err(|source| PluginError::Unreadable { path: path.to_owned(), source })
}

/// The safe question: one C symbol that answers with a number. A library that is no plugin, or one of
/// another version, gets a clear sentence here instead of a dump of layouts later.
fn check_interface(path: &Path) -> Result<(u16, u16), PluginError> {
    // SAFETY: opening a library runs its initialisers, which is what `--plugin` asks for.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|source| PluginError::NotALibrary { path: path.to_owned(), source })?;
    let symbol = abi::INTERFACE_SYMBOL;
    // SAFETY: the symbol's type is fixed for all interface versions.
    let answer = unsafe { library.get::<extern "C" fn() -> u32>(symbol) }
        .map_err(|source| PluginError::NotAPlugin { path: path.to_owned(), symbol, source })?;
    let plugin = abi::interface_version(answer());
    let host = INTERFACE_VERSION;
    // Never unloaded: what it hands out points into it.
    std::mem::forget(library);
    if plugin.0 != host.0 || plugin.1 > host.1 {
        return Err(PluginError::Interface { path: path.to_owned(), plugin, host });
    }
    Ok(plugin)
}

impl Library {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The interface version it was built for, as (major, minor).
    pub fn interface(&self) -> (u16, u16) {
        self.interface
    }

    /// The SHA-256 of the file, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What the library says of itself.
    pub fn info(&self) -> &LibraryInfo {
        self.loaded.info()
    }

    /// Makes one of its methods; `given` are options as typed, `KEY` to `VALUE`.
    ///
    /// # Errors
    /// It has none of this name, or refuses an option.
    pub fn method(
        &self,
        name: &str,
        given: &BTreeMap<String, String>,
    ) -> Result<(LoadedMethod, MethodInfo, Options), PluginError> {
        let info = self.info().methods.iter().find(|info| info.name == name);
        let info = info.ok_or_else(|| self.not_offered("method", name))?;
        let refused = |source| PluginError::Options { what: format!("method {name}"), source };
        let options = resolve(&info.options, given).map_err(refused)?;
        let method = self.loaded.method(name, &options).map_err(refused)?;
        Ok((method, info.clone(), options))
    }

    /// Makes one of its selectors; `given` as for [`Library::method`].
    ///
    /// # Errors
    /// As [`Library::method`].
    pub fn selector(
        &self,
        name: &str,
        given: &BTreeMap<String, String>,
    ) -> Result<(LoadedSelector, SelectorInfo, Options), PluginError> {
        let info = self.info().selectors.iter().find(|info| info.name == name);
        let info = info.ok_or_else(|| self.not_offered("selector", name))?;
        let refused = |source| PluginError::Options { what: format!("selector {name}"), source };
        let options = resolve(&info.options, given).map_err(refused)?;
        let selector = self.loaded.selector(name, &options).map_err(refused)?;
        Ok((selector, info.clone(), options))
    }

    fn not_offered(&self, what: &str, name: &str) -> PluginError {
        PluginError::NotOffered(format!("{} offers no {what} named `{name}`", self.path.display()))
    }
}

/// Types what was typed, by the option's declaration. A name that is not declared is kept as text, so
/// that [`Options::resolve`] refuses it with the names that are.
fn resolve(specs: &[OptionSpec], given: &BTreeMap<String, String>) -> espalier_sdk::Result<Options> {
    let mut values = Map::new();
    for (name, text) in given {
        let value = match specs.iter().find(|spec| &spec.name == name) {
            Some(spec) => spec.kind.parse(text).map_err(|error| error.context(format!("option `{name}`")))?,
            None => Value::from(text.as_str()),
        };
        values.insert(name.clone(), value);
    }
    Options::resolve(specs, &values)
}
