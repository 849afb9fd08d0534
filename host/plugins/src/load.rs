//! Opening a library, and making its methods and selectors.

#[cfg(unix)]
use super::isolate::{Apart, Place, Process};
use super::{Isolate, PluginError, PluginMethod, PluginSelector, TrustList, policy::policy, safety};
use espalier_base::text::did_you_mean;
use espalier_base::{files, hash::Hashed};
#[cfg(unix)]
use espalier_sdk::abi::{LoadedMethod, LoadedSelector};
use espalier_sdk::{
    INTERFACE_VERSION, LibraryInfo, MethodInfo, OptionSpec, Options, SelectorInfo,
    abi::{self, LoadedLibrary},
};
use serde_json::Map;
#[cfg(unix)]
use std::sync::{Mutex, PoisonError};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// An opened plugin library.
pub struct Library {
    path: PathBuf,
    interface: (u16, u16),
    sha256: String,
    info: LibraryInfo,
    code: Code,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

/// Where a library's code is.
enum Code {
    /// In this process.
    Here(LoadedLibrary),
    /// In a process of its own, which the first method or selector takes.
    #[cfg(unix)]
    Apart(Mutex<Option<Process>>),
}

/// Opens a library after asking it for its interface version.
///
/// # Errors
/// The file cannot be read, or is no library, no plugin, or one of another interface.
pub fn load(path: &Path) -> Result<Library, PluginError> {
    let policy = policy();
    safety::check(path)?;
    let shipped = safety::is_shipped(path);
    if policy.trusted_only && !shipped {
        let sha256 = digest(path)?;
        if !TrustList::open()?.has(&sha256) {
            return Err(PluginError::Untrusted { path: path.to_owned(), sha256 });
        }
    }
    let apart = match policy.isolate {
        Isolate::Always if cfg!(not(unix)) => return Err(PluginError::NoIsolation),
        Isolate::Always => true,
        Isolate::Auto => cfg!(unix) && !shipped,
        Isolate::Never => false,
    };
    let library = if apart { load_apart(path, policy.patience)? } else { load_here(path)? };
    let place = if apart { "methods and selectors run in a process of their own" } else { "in this process" };
    tracing::info!("{}: {place}, SHA-256 {}", path.display(), library.sha256);
    Ok(library)
}

/// Opens a library in a process of its own if that can be, to say what it offers.
///
/// # Errors
/// As [`load`].
pub fn describe(path: &Path) -> Result<Library, PluginError> {
    safety::check(path)?;
    if cfg!(unix) { load_apart(path, DESCRIBE) } else { load_here(path) }
}

/// How long a library may take to say what it offers.
const DESCRIBE: Duration = Duration::from_secs(20);

pub(super) fn load_here(path: &Path) -> Result<Library, PluginError> {
    let sha256 = digest(path)?;
    let interface = check_interface(path)?;
    let loaded = abi::open(path)?;
    let info = loaded.info().clone();
    Ok(Library { path: path.to_owned(), interface, sha256, info, code: Code::Here(loaded) })
}

#[cfg(unix)]
fn load_apart(path: &Path, patience: Duration) -> Result<Library, PluginError> {
    let sha256 = digest(path)?;
    let (process, interface, info) = Process::open(path, &sha256, patience).map_err(PluginError::Apart)?;
    let code = Code::Apart(Mutex::new(Some(process)));
    Ok(Library { path: path.to_owned(), interface, sha256, info, code })
}

#[cfg(not(unix))]
fn load_apart(_: &Path, _: Duration) -> Result<Library, PluginError> {
    Err(PluginError::NoIsolation)
}

/// The SHA-256 of a library's file.
pub(super) fn digest(path: &Path) -> Result<String, PluginError> {
    let hash = files::open(path).and_then(|file| Hashed::new(file).finish());
    hash.map_err(|source| PluginError::Unreadable { path: path.to_owned(), source })
}

/// The safe question: one C symbol that answers with a number. A library that is not a plugin, or one of
/// another version, gets a clear sentence here instead of a dump of layouts later.
fn check_interface(path: &Path) -> Result<(u16, u16), PluginError> {
    // SAFETY: opening a library runs its initialisers, which is what `--plugin` asks for.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|source| PluginError::NotALibrary { path: path.to_owned(), source })?;
    let symbol = abi::INTERFACE_SYMBOL;
    // SAFETY: the symbol's type is fixed for all interface versions.
    let answer = unsafe { library.get::<extern "C" fn() -> u32>(symbol.as_bytes()) }
        .map_err(|source| PluginError::NotAPlugin { path: path.to_owned(), symbol, source })?;
    let plugin = abi::interface_version(answer());
    let host = INTERFACE_VERSION;
    // Never unloaded: what it hands out points into it.
    std::mem::forget(library);
    let compatible = match host {
        (0, _) => plugin == host,
        (major, minor) => plugin.0 == major && plugin.1 <= minor,
    };
    if !compatible {
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

    /// The library's description.
    pub fn info(&self) -> &LibraryInfo {
        &self.info
    }

    /// Whether it came with this binary: it is in the binary's folder.
    pub fn is_shipped(&self) -> bool {
        safety::is_shipped(&self.path)
    }

    /// Whether methods and selectors run in a process of their own.
    pub fn is_isolated(&self) -> bool {
        !matches!(self.code, Code::Here(_))
    }

    /// Makes a method of a library that is open in this process.
    #[cfg(unix)]
    pub(super) fn method_here(&self, name: &str, options: &Options) -> espalier_sdk::Result<LoadedMethod> {
        self.here()?.method(name, options)
    }

    /// Makes a selector of a library that is open in this process.
    #[cfg(unix)]
    pub(super) fn selector_here(
        &self,
        name: &str,
        options: &Options,
    ) -> espalier_sdk::Result<LoadedSelector> {
        self.here()?.selector(name, options)
    }

    #[cfg(unix)]
    fn here(&self) -> espalier_sdk::Result<&LoadedLibrary> {
        match &self.code {
            Code::Here(loaded) => Ok(loaded),
            Code::Apart(_) => Err(espalier_sdk::Error::invalid("the library is open elsewhere")),
        }
    }

    /// Where something of a library is made that is open in another process.
    #[cfg(unix)]
    fn place(&self, process: &Mutex<Option<Process>>) -> Place {
        let process = process.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (library, sha256) = (self.path.clone(), self.sha256.clone());
        Place { library, sha256, patience: policy().patience, process }
    }

    /// Makes one of its methods; `given` are options as typed, `KEY` to `VALUE`.
    ///
    /// # Errors
    /// It has none of this name, or refuses an option.
    pub fn method(
        &self,
        name: &str,
        given: &BTreeMap<String, String>,
    ) -> Result<(PluginMethod, MethodInfo, Options), PluginError> {
        let info = self.info().methods.iter().find(|info| info.name == name);
        let info = info.ok_or_else(|| self.not_offered("method", name))?;
        let refused = |source| PluginError::Options { what: format!("method {name}"), source };
        let options = resolve(&info.options, given).map_err(refused)?;
        let method = match &self.code {
            Code::Here(loaded) => loaded.method(name, &options).map(PluginMethod::here),
            #[cfg(unix)]
            Code::Apart(process) => {
                Apart::method(self.place(process), name, &options).map(PluginMethod::apart)
            }
        };
        Ok((method.map_err(refused)?, info.clone(), options))
    }

    /// Makes one of its selectors; `given` as for [`Library::method`].
    ///
    /// # Errors
    /// As [`Library::method`].
    pub fn selector(
        &self,
        name: &str,
        given: &BTreeMap<String, String>,
    ) -> Result<(PluginSelector, SelectorInfo, Options), PluginError> {
        let info = self.selector_info(name)?;
        let refused = |source| PluginError::Options { what: format!("selector {name}"), source };
        let options = resolve(&info.options, given).map_err(refused)?;
        let selector = match &self.code {
            Code::Here(loaded) => loaded.selector(name, &options).map(PluginSelector::here),
            #[cfg(unix)]
            Code::Apart(process) => {
                Apart::selector(self.place(process), name, &options).map(PluginSelector::apart)
            }
        };
        let selector = selector.map_err(refused)?;
        Ok((selector, info.clone(), options))
    }

    /// The description of one of its selectors, which is not made.
    ///
    /// # Errors
    /// It has none of this name.
    pub fn selector_info(&self, name: &str) -> Result<&SelectorInfo, PluginError> {
        let info = self.info().selectors.iter().find(|info| info.name == name);
        info.ok_or_else(|| self.not_offered("selector", name))
    }

    fn not_offered(&self, what: &str, name: &str) -> PluginError {
        let info = self.info();
        let methods = info.methods.iter().map(|info| info.name.as_str());
        let names = methods.chain(info.selectors.iter().map(|info| info.name.as_str()));
        let hint = did_you_mean(name, names);
        PluginError::NotOffered(format!("{} offers no {what} named `{name}`{hint}", self.path.display()))
    }
}

/// The library among these that offers a method or selector, which `kind` says, of this name; none if none does.
///
/// # Errors
/// Several different libraries offer it.
pub fn offering<'a>(
    offered: &[(&'a Library, &str)],
    kind: &str,
    name: &str,
) -> Result<Option<&'a Library>, PluginError> {
    let mut all = offered.iter().filter(|(_, offered)| *offered == name).map(|(library, _)| *library);
    let Some(first) = all.next() else { return Ok(None) };
    match all.find(|other| other.sha256() != first.sha256()) {
        None => Ok(Some(first)),
        Some(other) => {
            let (first, other) = (first.path().display(), other.path().display());
            let message = format!("both {first} and {other} offer a {kind} named `{name}`: give one of them");
            Err(PluginError::NotOffered(message))
        }
    }
}

/// The values of options as a user typed them, in the types that the options declare.
fn resolve(specs: &[OptionSpec], given: &BTreeMap<String, String>) -> espalier_sdk::Result<Options> {
    let mut values = Map::new();
    for (name, text) in given {
        let value = match specs.iter().find(|spec| &spec.name == name) {
            Some(spec) => spec.kind.parse(text).map_err(|error| error.context(format!("option `{name}`")))?,
            None => {
                let known: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
                let hint = did_you_mean(name, known.iter().copied());
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(espalier_sdk::Error::invalid(format!(
                    "unknown option `{name}` (known: {known}){hint}"
                )));
            }
        };
        values.insert(name.clone(), value);
    }
    Options::resolve(specs, &values)
}
