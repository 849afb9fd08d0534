//! A plugin library as a whole.

use super::{
    AbiResult, LoadedMethod, LoadedSelector, guard,
    json::{from_json, to_json},
    method::{MethodBox, pack_method},
    plain,
    selector::{SelectorBox, pack_selector},
};
use crate::{Code, Error, LibraryInfo, Options, Registry, Result, message::HostCall, service::Op};
use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::check_layout_compatibility,
    library::{CheckTypeLayout, LibHeader, LibraryError, RootModule, RootModuleResult, lib_header_from_path},
    package_version_strings,
    prefix_type::PrefixTypeTrait,
    sabi_types::VersionStrings,
    std_types::{RStr, RString},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Once,
};

/// The exports of a library. New ones come after `new_selector`, which stays the last that every library has.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = LibraryRef)))]
#[sabi(missing_field(panic))]
pub struct Library {
    describe: extern "C" fn() -> AbiResult<RString>,
    new_method: extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<MethodBox>,
    #[sabi(last_prefix_field)]
    new_selector: extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<SelectorBox>,
}

impl RootModule for LibraryRef {
    abi_stable::declare_root_module_statics! {LibraryRef}

    const BASE_NAME: &'static str = "espalier_plugin";
    const NAME: &'static str = "espalier_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// A crate that is a plugin; implemented by [`export_plugin!`](crate::export_plugin).
pub trait Plugin {
    /// The methods and selectors of the crate.
    fn registry() -> Registry;
}

/// The header that leads to a plugin's [`Library`].
pub const fn header<P: Plugin>() -> LibHeader {
    // SAFETY: `construct` returns what abi_stable's own loader made of a `LibraryRef`.
    unsafe { LibHeader::from_constructor::<LibraryRef>(construct::<P>, CheckTypeLayout::Yes) }
}

extern "C" fn construct<P: Plugin>() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(|| {
        let library =
            Library { describe: describe::<P>, new_method: new_method::<P>, new_selector: new_selector::<P> };
        library.leak_into_prefix()
    })
}

extern "C" fn describe<P: Plugin>() -> AbiResult<RString> {
    guard(|| Ok(to_json(P::registry().info())?.into()))
}

extern "C" fn new_method<P: Plugin>(name: RStr<'_>, options: RStr<'_>) -> AbiResult<MethodBox> {
    guard(|| Ok(pack_method(P::registry().new_method(&name, &from_json(&options)?)?)))
}

extern "C" fn new_selector<P: Plugin>(name: RStr<'_>, options: RStr<'_>) -> AbiResult<SelectorBox> {
    guard(|| Ok(pack_selector(P::registry().new_selector(&name, &from_json(&options)?)?)))
}

/// Why a library does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The dynamic loader refused it, or it has no header.
    #[error("{} is not an Espalier plugin that this host can load: {message}", .path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// The message of abi_stable.
        message: String,
    },
    /// The library's types are laid out otherwise than this host's.
    #[error(
        "{} says that it has interface {}.{}, as this host has, but its types are laid out otherwise: build it with the \
         unchanged SDK",
        .path.display(),
        crate::INTERFACE_VERSION.0,
        crate::INTERFACE_VERSION.1
    )]
    Layout {
        /// The library.
        path: PathBuf,
        /// The differences, for the log.
        details: String,
    },
    /// The library opened, but cannot say what it offers.
    #[error("{} cannot say what it offers", .path.display())]
    Describe {
        /// The library.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: crate::Error,
    },
}

/// An opened library. It is never unloaded.
pub struct LoadedLibrary {
    library: LibraryRef,
    info: LibraryInfo,
}

impl fmt::Debug for LoadedLibrary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("LoadedLibrary").finish_non_exhaustive()
    }
}

/// Opens a library. Ask its [`INTERFACE_SYMBOL`](super::INTERFACE_SYMBOL) first: this compares layouts,
/// whose differences are hard to read.
///
/// # Errors
/// See [`OpenError`].
pub fn open(path: &Path) -> Result<LoadedLibrary, OpenError> {
    let failed = |error: LibraryError| match error {
        LibraryError::AbiInstability(details) => {
            OpenError::Layout { path: path.to_owned(), details: details.to_string() }
        }
        error => OpenError::Library { path: path.to_owned(), message: error.to_string() },
    };
    // Not `RootModule::load_from_file`: it keeps one library a type and would hand back the first one.
    let header = lib_header_from_path(path).map_err(failed)?;
    let library = checked(header).map_err(failed)?;
    let info = plain(library.describe()())
        .and_then(|json| from_json(&json))
        .map_err(|source| OpenError::Describe { path: path.to_owned(), source })?;
    Ok(LoadedLibrary { library, info })
}

/// The exports of a library whose layouts fit.
///
/// Tables grow at their ends. Of two versions, the older one's tables must be the beginnings of the newer one's, and either
/// side may be the newer: abi_stable compares an interface with an implementation that may be newer, so a library that is
/// older than this host is compared with the sides exchanged.
fn checked(header: &'static LibHeader) -> Result<LibraryRef, LibraryError> {
    // abi_stable remembers the tables of every library and compares later ones with them too. It must know this host's own
    // before an older library's, or it would refuse each newer one that is opened behind that.
    static KNOWN: Once = Once::new();
    KNOWN.call_once(|| {
        let own = <LibraryRef as StableAbi>::LAYOUT;
        // A type is like itself: there is no error to keep.
        let _ = check_layout_compatibility(own, own);
    });
    let error = match header.init_root_module::<LibraryRef>() {
        Ok(library) => return Ok(library),
        Err(error) => error,
    };
    let is_older = header
        .layout()
        .is_some_and(|layout| check_layout_compatibility(layout, <LibraryRef as StableAbi>::LAYOUT).is_ok());
    if !is_older {
        return Err(error);
    }
    // SAFETY: the library's tables are the beginnings of this host's.
    unsafe { header.init_root_module_with_unchecked_layout::<LibraryRef>() }
}

impl LoadedLibrary {
    /// The library's description.
    pub fn info(&self) -> &LibraryInfo {
        &self.info
    }

    /// An instance of one of its methods.
    ///
    /// # Errors
    /// It does not exist, it [requires](crate::MethodInfo::requires) what this host does not have, or it refuses the options.
    pub fn method(&self, name: &str, options: &Options) -> Result<LoadedMethod> {
        let info = self.info.methods.iter().find(|info| info.name == name);
        let has = |name: &str| HostCall::NAMES.contains(&name) || Op::<()>::NAMES.contains(&name);
        if let Some(missing) = info.and_then(|info| info.requires.iter().find(|name| !has(name))) {
            return Err(Error::new(
                Code::Unsupported,
                format!(
                    "the method {name} needs `{missing}`, which this host does not have: use a newer host"
                ),
            ));
        }
        let options = to_json(options)?;
        plain(self.library.new_method()(name.into(), options.as_str().into())).map(LoadedMethod)
    }

    /// An instance of one of its selectors.
    ///
    /// # Errors
    /// It does not exist, or it refuses the options.
    pub fn selector(&self, name: &str, options: &Options) -> Result<LoadedSelector> {
        let options = to_json(options)?;
        plain(self.library.new_selector()(name.into(), options.as_str().into())).map(LoadedSelector)
    }
}
