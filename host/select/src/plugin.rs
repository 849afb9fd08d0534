//! The selector of a run: found in the libraries that were given, or in one of its own name.

use super::Result;
use espalier_plugins::{Library, PluginError, PluginRecord, PluginSelector, find, load, offering};
use espalier_sdk::SelectorInfo;
use std::collections::BTreeMap;

/// The default selector, and its library.
const SELECTOR: &str = "random";

/// The library of the selectors that have none of their own name.
const FAMILY: &str = "selectors";

/// A selector that was found and made, with what the manifest says of it.
#[derive(Debug)]
pub struct Chosen {
    selector: PluginSelector,
    info: SelectorInfo,
    record: PluginRecord,
}

impl Chosen {
    /// The selector of this name, the only one that the libraries offer, or `random`. One that none of the
    /// libraries has is looked for in a library of its own name, then in the one of Espalier's selectors.
    /// `options` are as typed, `KEY` to `VALUE`.
    ///
    /// # Errors
    /// There is no such selector, there are several and no name, or it refuses an option.
    pub fn find(
        libraries: &[Library],
        name: Option<&str>,
        options: &BTreeMap<String, String>,
    ) -> Result<Self> {
        located(libraries, name, |library, name| Self::of(library, name, options))
    }

    /// The description of the selector that [`find`](Self::find) would find, which is not made: it may need options.
    ///
    /// # Errors
    /// There is no such selector, or there are several and no name.
    pub fn describe(libraries: &[Library], name: Option<&str>) -> Result<SelectorInfo> {
        located(libraries, name, |library, name| Ok(library.selector_info(name)?.clone()))
    }

    fn of(library: &Library, name: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        let (selector, info, options) = library.selector(name, options)?;
        let record = PluginRecord::new(info.name.clone(), options, library);
        Ok(Self { selector, info, record })
    }

    /// The selector itself.
    pub(super) fn selector(&self) -> &PluginSelector {
        &self.selector
    }

    /// Its description.
    pub fn info(&self) -> &SelectorInfo {
        &self.info
    }

    /// Its name, options, library and version.
    pub fn record(&self) -> &PluginRecord {
        &self.record
    }
}

/// Does something with the library that a selector is in, and its name.
fn located<T>(
    libraries: &[Library],
    name: Option<&str>,
    then: impl FnOnce(&Library, &str) -> Result<T>,
) -> Result<T> {
    let offered: Vec<_> = libraries
        .iter()
        .flat_map(|library| library.info().selectors.iter().map(move |info| (library, info.name.as_str())))
        .collect();
    let name = match (name, offered.as_slice()) {
        (Some(name), _) => name,
        // A library that was given for its one selector is meant to be used.
        (None, [(_, only)]) => only,
        (None, []) => SELECTOR,
        (None, several) => {
            let names: Vec<_> = several.iter().map(|(_, name)| *name).collect();
            let names = names.join(", ");
            let message = format!("there are several selectors ({names}): choose one with --selector");
            return Err(PluginError::NotOffered(message).into());
        }
    };
    match offering(&offered, "selector", name)? {
        Some(library) => then(library, name),
        None => then(&library_of(name)?, name),
    }
}

/// The library that a selector is in which none of the given libraries offers.
fn library_of(name: &str) -> Result<Library> {
    match find(name) {
        Ok(path) => Ok(load(&path)?),
        Err(absent) => {
            let family = find(FAMILY).ok().and_then(|path| load(&path).ok());
            let offers = |library: &Library| library.info().selectors.iter().any(|info| info.name == name);
            Ok(family.filter(offers).ok_or(absent)?)
        }
    }
}
