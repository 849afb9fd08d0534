//! `host prune`.

use super::{CliError, args, calibrate, print, print_json, progress, table};
use crate::{
    device::choose,
    model::{CheckpointWriter, Llama, resolve},
    plugins::{Library, find, load},
    prune::{Event, LayerReport, Manifest, Plan, PluginRecord, Targets, model_card, prune},
};
use espalier_sdk::{MethodInfo, Options, abi::LoadedMethod};
use std::{collections::BTreeMap, time::Instant};

pub(super) fn run(command: &args::Prune, verbosity: args::Verbosity) -> Result<(), CliError> {
    let started = Instant::now();
    // Everything that can be wrong with the request is found before anything long begins.
    let libraries =
        command.plugin.iter().map(|name| Ok(load(&find(name)?)?)).collect::<Result<Vec<_>, CliError>>()?;
    let options = Given::new(command, &libraries)?;
    let (method, info, method_options, library) = find_method(command, &libraries, &options)?;
    let targets = targets(command)?;
    let folder = resolve(&command.model)?;
    let device = choose::open(&command.device.request())?;
    tracing::info!("on {} ({}, {})", device.info().name, device.info().backend, device.info().driver);
    let model = Llama::open(&folder, device)?;
    let mut output = CheckpointWriter::create(&model.checkpoint, &command.out, command.overwrite)?;

    let calibration = match (&command.calibration, info.statistics.is_empty()) {
        (given, true) => {
            if given.is_some() {
                tracing::warn!("the method {} measures nothing: --calibration is not used", info.name);
            }
            None
        }
        (None, false) => return Err(CliError::NoCalibration { method: info.name }),
        (Some(path), false) => {
            let selector = || calibrate::find_selector(command, &libraries, &options.selector);
            Some(calibrate::windows(command, path, &folder, &model.config, selector)?)
        }
    };
    let (windows, calibration) = calibration.unzip();
    let windows: Vec<&[u32]> = windows.iter().flatten().map(|window| window.input_ids.as_slice()).collect();

    let plan = Plan {
        method: &method,
        info: &info,
        order: method.order().map_err(|source| CliError::Order { method: info.name.clone(), source })?,
        targets: &targets,
        propagate: !command.no_propagate,
        batch_tokens: calibrate::BATCH_TOKENS,
    };
    let layers = run_with_bar(&model, &plan, &windows, &mut output, verbosity)?;

    output.copy_remaining()?;
    output.side_files()?;
    let manifest = Manifest {
        format: 1,
        espalier: env!("CARGO_PKG_VERSION"),
        model: command.model.clone(),
        method: PluginRecord::new(info.name.clone(), method_options, library),
        targets: targets.clone(),
        propagate: plan.propagate,
        reached: share(&layers),
        calibration,
        device: model.device.info().clone(),
        device_peak_bytes: model.device.peak_bytes(),
        seconds: started.elapsed().as_secs_f64(),
        layers,
    };
    output.add_file("espalier.json", &serde_json::to_vec_pretty(&manifest)?)?;
    output.add_file("README.md", model_card(&manifest).as_bytes())?;
    output.commit()?;
    if command.json { print_json(&manifest) } else { print(&summary(&manifest, command)) }
}

/// The options as typed, each for whoever declares it.
struct Given {
    method: BTreeMap<String, String>,
    selector: BTreeMap<String, String>,
}

impl Given {
    /// An option goes to the methods and selectors that know it; one that nobody knows goes to the method,
    /// which refuses it with the names it does know.
    fn new(command: &args::Prune, libraries: &[Library]) -> Result<Self, CliError> {
        let mut given = Self { method: BTreeMap::new(), selector: BTreeMap::new() };
        for (key, value) in &command.options {
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

type FoundMethod<'a> = (LoadedMethod, MethodInfo, Options, &'a Library);

fn find_method<'a>(
    command: &args::Prune,
    libraries: &'a [Library],
    options: &Given,
) -> Result<FoundMethod<'a>, CliError> {
    let offered: Vec<_> = libraries
        .iter()
        .flat_map(|library| library.info().methods.iter().map(move |info| (library, info.name.as_str())))
        .collect();
    let names: Vec<_> = offered.iter().map(|(_, name)| *name).collect();
    let (library, name) = match (&command.method, offered.as_slice()) {
        (_, []) => return Err(CliError::Usage("none of the libraries offers a pruning method".to_owned())),
        (None, [only]) => *only,
        (None, _) => {
            let message =
                format!("there are several methods ({}): choose one with --method", names.join(", "));
            return Err(CliError::Usage(message));
        }
        (Some(wanted), offered) => *offered.iter().find(|(_, name)| name == wanted).ok_or_else(|| {
            CliError::Usage(format!(
                "no library offers a method named `{wanted}`; there are {}",
                names.join(", ")
            ))
        })?,
    };
    let (method, info, options) = library.method(name, &options.method)?;
    Ok((method, info, options, library))
}

fn targets(command: &args::Prune) -> Result<Targets, CliError> {
    let mut targets = Targets::everywhere(command.sparsity);
    targets.layers.clone_from(&command.layers);
    targets.skip.clone_from(&command.skip);
    if let Some(path) = &command.layer_sparsity {
        targets.read_per_layer(path)?;
    }
    Ok(targets)
}

fn run_with_bar(
    model: &Llama,
    plan: &Plan,
    windows: &[&[u32]],
    output: &mut CheckpointWriter,
    verbosity: args::Verbosity,
) -> Result<Vec<LayerReport>, CliError> {
    // A layer's own work counts as much as some tokens, so that the bar moves while layers are pruned.
    const LAYER: u64 = 512;
    let blocks = model.config.num_hidden_layers;
    let total = plan.expected_tokens(blocks, windows) + plan.expected_layers(blocks) * LAYER as usize;
    let bar = progress::bar("pruning", total, verbosity.quiet);
    let result = prune(model, plan, windows, output, &mut |event| match event {
        Event::Tokens(tokens) => bar.inc(tokens as u64),
        Event::Layer(layer) => {
            bar.set_message(layer.name.clone());
            bar.inc(LAYER);
            bar.suspend(|| {
                tracing::info!("{}: sparsity {:.4}, {:.2} s", layer.name, layer.sparsity, layer.seconds);
                for note in &layer.notes {
                    tracing::warn!("{}: {note}", layer.name);
                }
            });
        }
    });
    bar.finish_and_clear();
    Ok(result?)
}

/// The share of zeros over all pruned layers.
fn share(layers: &[LayerReport]) -> f64 {
    let (zeros, all) = layers
        .iter()
        .fold((0, 0), |(zeros, all), layer| (zeros + layer.zeros, all + layer.shape[0] * layer.shape[1]));
    if all == 0 { 0.0 } else { zeros as f64 / all as f64 }
}

fn summary(manifest: &Manifest, command: &args::Prune) -> String {
    let damped = manifest.layers.iter().any(|layer| layer.numbers.contains_key("damping"));
    let mut header = vec!["layer", "sparsity", "error", "seconds"];
    if damped {
        header.insert(3, "damping");
    }
    let rows: Vec<_> = manifest
        .layers
        .iter()
        .map(|layer| {
            let name = layer.name.trim_start_matches("model.").trim_end_matches(".weight").to_owned();
            let error = layer.error.map_or_else(|| "-".to_owned(), |error| format!("{error:.4e}"));
            let mut row =
                vec![name, format!("{:.4}", layer.sparsity), error, format!("{:.2}", layer.seconds)];
            if damped {
                row.insert(3, layer.numbers.get("damping").map_or_else(|| "-".to_owned(), f64::to_string));
            }
            row
        })
        .collect();
    format!(
        "{}\n\n{}: {} layers of {} pruned to sparsity {:.4} in {:.1} s on {}\nwritten to {}",
        table::render(&header, &rows),
        manifest.method.name,
        manifest.layers.len(),
        manifest.model,
        manifest.reached,
        manifest.seconds,
        manifest.device.name,
        command.out.display()
    )
}
