//! The method of a run: found in the libraries that were given.

use super::{Plan, PruneError, Result, Settings};
use espalier_base::text::did_you_mean;
use espalier_plugins::{Library, PluginError, PluginMethod, PluginRecord, offering};
use espalier_sdk::{MethodInfo, Order};
use std::collections::BTreeMap;

/// A method that was found and made, with what the manifest says of it.
#[derive(Debug)]
pub struct Method {
    pub(super) loaded: PluginMethod,
    pub(super) info: MethodInfo,
    pub(super) order: Order,
    pub(super) record: PluginRecord,
}

impl Method {
    /// The method of this name, or the only one there is; `options` are as typed, `KEY` to `VALUE`.
    ///
    /// # Errors
    /// None of the libraries has it, there are several and no name, or it refuses an option.
    pub fn find(
        libraries: &[Library],
        name: Option<&str>,
        options: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let offered: Vec<_> = libraries
            .iter()
            .flat_map(|library| library.info().methods.iter().map(move |info| (library, info.name.as_str())))
            .collect();
        let names: Vec<_> = offered.iter().map(|(_, name)| *name).collect();
        let not_offered = |message: String| Err(PluginError::NotOffered(message).into());
        let (library, name) = match (name, offered.as_slice()) {
            (_, []) => return not_offered("none of the libraries offers a pruning method".to_owned()),
            (None, [only]) => *only,
            (None, _) => {
                let names = names.join(", ");
                return not_offered(format!("there are several methods ({names}): choose one with --method"));
            }
            (Some(wanted), offered) => match offering(offered, "method", wanted)? {
                Some(library) => (library, wanted),
                None => {
                    let names = names.join(", ");
                    let hint = did_you_mean(wanted, offered.iter().map(|(_, name)| *name));
                    return not_offered(format!(
                        "no library offers a method named `{wanted}`; there are {names}{hint}"
                    ));
                }
            },
        };
        let (loaded, info, options) = library.method(name, options)?;
        let order =
            loaded.order().map_err(|source| PruneError::Order { method: info.name.clone(), source })?;
        let record = PluginRecord::new(info.name.clone(), options, library);
        Ok(Self { loaded, info, order, record })
    }

    /// The plan of a run with these settings.
    pub fn plan<'a>(&'a self, settings: &'a Settings) -> Plan<'a> {
        Plan {
            method: &self.loaded,
            info: &self.info,
            order: self.order,
            targets: &settings.targets,
            propagate: settings.propagate,
        }
    }

    /// The method's description.
    pub fn info(&self) -> &MethodInfo {
        &self.info
    }

    /// Its name, options, library and version.
    pub fn record(&self) -> &PluginRecord {
        &self.record
    }

    /// Whether it measures the inputs of layers, so that it needs calibration data.
    pub fn measures(&self) -> bool {
        !self.info.statistics.is_empty()
    }
}
