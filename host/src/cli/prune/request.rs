//! The command line of `host prune`, resolved: plugins are loaded, options are assigned to the methods and selectors that declare them, and
//! what contradicts itself is refused.

use super::super::{CliError, args};
use espalier_base::output;
use espalier_device::choose::DeviceRequest;
use espalier_model::resolve;
use espalier_plugins::{Library, find, load};
use espalier_prune::{IfUnfinished, MemoryBudget, Method, Output, Settings, Targets, finished};
use espalier_select::Request;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Everything that a run needs to know of its command line.
pub(super) struct PruneRequest<'a> {
    pub(super) libraries: Vec<Library>,
    pub(super) method: Method,
    pub(super) settings: Settings,
    pub(super) folder: PathBuf,
    pub(super) device: DeviceRequest,
    /// The calibration data, where the method measures anything.
    pub(super) calibration: Option<Request>,
    pub(super) out: Output<'a>,
    /// The fingerprint of a finished run at the output, where `--resume` may find one.
    pub(super) finished: Option<String>,
    pub(super) show_samples: Option<usize>,
    pub(super) profile: Option<&'a Path>,
    pub(super) json: bool,
}

impl<'a> PruneRequest<'a> {
    /// Resolves a command line.
    pub(super) fn resolve(command: &'a args::Prune) -> Result<Self, CliError> {
        let libraries = command
            .plugin
            .iter()
            .map(|name| Ok(load(&find(name)?)?))
            .collect::<Result<Vec<_>, CliError>>()?;
        let options = Given::new(command, &libraries)?;
        let method = Method::find(&libraries, command.method.as_deref(), &options.method)?;
        let profile = command.profile.as_deref();
        if let Some(path) = profile {
            let inputs = command.calibration.inputs().chain(command.layer_sparsity.as_deref());
            output::check(path, command.overwrite, inputs)?;
        }
        Ok(Self {
            settings: settings(command)?,
            folder: resolve(&command.model)?,
            device: command.device.request(),
            calibration: calibration(command, &method, options.selector)?,
            out: Output {
                path: &command.out,
                overwrite: command.overwrite,
                if_unfinished: if command.restart { IfUnfinished::Restart } else { IfUnfinished::Continue },
                keep_hidden: !command.no_keep_hidden,
            },
            finished: if command.resume && !command.overwrite { finished(&command.out) } else { None },
            show_samples: command.calibration.show_samples,
            profile,
            json: command.json,
            libraries,
            method,
        })
    }
}

fn settings(command: &args::Prune) -> Result<Settings, CliError> {
    let mut targets = Targets::everywhere(command.sparsity);
    targets.layers.clone_from(&command.layers);
    targets.skip.clone_from(&command.skip);
    if let Some(path) = &command.layer_sparsity {
        targets.read_per_layer(path)?;
    }
    Ok(Settings {
        model: command.model.clone(),
        targets,
        propagate: !command.no_propagate,
        seed: command.calibration.seed,
        memory: MemoryBudget {
            device: command.device_memory.map(|size| size.0),
            host: command.host_memory.map(|size| size.0),
        },
    })
}

/// The calibration data that the method needs.
fn calibration(
    command: &args::Prune,
    method: &Method,
    options: BTreeMap<String, String>,
) -> Result<Option<Request>, CliError> {
    let name = method.name();
    match (command.calibration.is_given(), method.measures()) {
        (false, true) => Err(CliError::NoCalibration { method: name.to_owned() }),
        (true, true) => Ok(Some(command.calibration.request(options))),
        (given, false) => {
            if given {
                tracing::warn!("the method {name} measures nothing: --calibration is not used");
            }
            Ok(None)
        }
    }
}

/// The options as typed, split into those of the method and those of the selector.
struct Given {
    method: BTreeMap<String, String>,
    selector: BTreeMap<String, String>,
}

impl Given {
    /// An option goes to the methods and selectors that know it; one that nobody knows goes to the method,
    /// which refuses it with the names it does know.
    fn new(command: &args::Prune, libraries: &[Library]) -> Result<Self, CliError> {
        let mut given = Self { method: BTreeMap::new(), selector: BTreeMap::new() };
        for (key, value) in &command.calibration.options {
            let known = |specs: &[espalier_sdk::OptionSpec]| specs.iter().any(|spec| &spec.name == key);
            let infos = || libraries.iter().map(Library::info);
            let of_selector =
                infos().any(|info| info.selectors.iter().any(|selector| known(&selector.options)));
            let of_method = infos().any(|info| info.methods.iter().any(|method| known(&method.options)));
            if of_selector {
                given.selector.insert(key.clone(), value.clone());
            }
            if of_method || !of_selector {
                given.method.insert(key.clone(), value.clone());
            }
        }
        Ok(given)
    }
}
