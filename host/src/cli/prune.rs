//! `host prune`.

use super::{CliError, args, calibrate, clean, note, print, print_json, progress, table};
use espalier_base::{
    files::{self, Limit},
    output,
    profile::{self, Clock, Trace},
};
use espalier_device::{Profiled, choose};
use espalier_model::{
    Llama, resolve,
    writer::{MANIFEST, WriteError, tidy},
};
use espalier_plugins::{Library, find, load, set_policy};
use espalier_prune::{
    Event, Fingerprint, IfUnfinished, Manifest, MemoryBudget, Method, Output, Run, Settings, Targets,
    finished,
};
use espalier_select::{CalibrationRecord, Selection};
use std::{collections::BTreeMap, sync::Arc};

pub(super) fn run(command: &args::Prune, verbosity: args::Verbosity) -> Result<(), CliError> {
    set_policy(command.opening.policy());
    // Everything that can be wrong with the request is found before anything long begins.
    let libraries =
        command.plugin.iter().map(|name| Ok(load(&find(name)?)?)).collect::<Result<Vec<_>, CliError>>()?;
    let options = Given::new(command, &libraries)?;
    let method = Method::find(&libraries, command.method.as_deref(), &options.method)?;
    let settings = Settings {
        model: command.model.clone(),
        targets: targets(command)?,
        propagate: !command.no_propagate,
        memory: MemoryBudget {
            device: command.device_memory.map(|size| size.0),
            host: command.host_memory.map(|size| size.0),
        },
    };
    if let Some(path) = &command.profile {
        let inputs = command.calibration.inputs().chain(command.layer_sparsity.as_deref());
        output::check(path, command.overwrite, inputs)?;
    }
    let folder = resolve(&command.model)?;
    let mut device = choose::open(&command.device.request())?;
    if command.profile.is_some() {
        device = Arc::new(Profiled::new(device)?);
        profile::start();
    }
    tracing::info!("on {}", device.info());
    let model = Llama::open(&folder, device)?;
    let to = Output {
        path: &command.out,
        overwrite: command.overwrite,
        if_unfinished: if command.restart { IfUnfinished::Restart } else { IfUnfinished::Continue },
        keep_hidden: !command.no_keep_hidden,
    };
    let finished = if command.resume && !command.overwrite { finished(&command.out) } else { None };
    let run = match finished {
        Some(_) => None,
        None => Some(Run::begin(&settings, &method, &model, to)?),
    };
    clean::mention(&command.out);

    let calibration = match (command.calibration.is_given(), method.measures()) {
        (given, false) => {
            if given {
                let name = &method.info().name;
                tracing::warn!("the method {name} measures nothing: --calibration is not used");
            }
            None
        }
        (false, true) => return Err(CliError::NoCalibration { method: method.info().name.clone() }),
        (true, true) => {
            let request = command.calibration.request(options.selector);
            let device = || Ok(Arc::clone(&model.device));
            let target = espalier_select::Target { folder: &folder, config: &model.config, device: &device };
            let selection = calibrate::select(&request, &libraries, target, verbosity)?;
            calibrate::show(&selection, command.calibration.show_samples, target)?;
            Some(selection)
        }
    };
    let windows = calibration.as_ref().map_or_else(Vec::new, Selection::input_ids);
    let record = calibration.as_ref().map(|selection| selection.record.clone());
    let Some(run) = run else {
        let fingerprint = Fingerprint::new(&settings, &method, &model, &windows)?.sha256();
        return already_finished(command, finished.is_some_and(|earlier| earlier == fingerprint));
    };
    let manifest = finish_with_bar(run, &windows, record, verbosity)?;
    if let Some(path) = &command.profile {
        let trace = profile::finish();
        output::write(path, command.overwrite, |out| trace.write(out))?;
        note(&time_table(&trace), verbosity);
    }
    if command.json { print_json(&manifest) } else { print(&summary(&manifest, command)) }
}

/// Where `--resume` finds the output finished: if this run made it, there is nothing to do.
fn already_finished(command: &args::Prune, same: bool) -> Result<(), CliError> {
    if !same {
        return Err(WriteError::Exists(command.out.clone()).into());
    }
    tidy(&command.out)?;
    let path = command.out.join(MANIFEST);
    if command.json {
        return print(
            &files::read_text(&path, Limit::RECORD).map_err(|source| WriteError::Read { path, source })?,
        );
    }
    print(&format!("{} was finished by an earlier run of the same settings", command.out.display()))
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

fn targets(command: &args::Prune) -> Result<Targets, CliError> {
    let mut targets = Targets::everywhere(command.sparsity);
    targets.layers.clone_from(&command.layers);
    targets.skip.clone_from(&command.skip);
    if let Some(path) = &command.layer_sparsity {
        targets.read_per_layer(path)?;
    }
    Ok(targets)
}

/// Finishes a run under a progress bar, and logs what became of each layer.
fn finish_with_bar(
    run: Run,
    windows: &[&[u32]],
    calibration: Option<CalibrationRecord>,
    verbosity: args::Verbosity,
) -> Result<Manifest, CliError> {
    let bar =
        progress::bar("pruning", Run::expected_work(std::slice::from_ref(&run), windows), verbosity.quiet);
    let result = run.finish(windows, calibration, &mut |event| {
        bar.inc(event.work() as u64);
        if let Event::Planned(memory) = event {
            bar.set_position(0);
            bar.suspend(|| note(&memory.to_string(), verbosity));
        }
        if let Event::Continued { blocks, of } = event {
            let text = format!("continuing an unfinished run: {blocks} of {of} blocks are finished");
            bar.suspend(|| note(&text, verbosity));
        }
        if let Event::Layer(layer) = event {
            bar.set_message(layer.name.clone());
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

/// Where the time went and by whose clock: kernels, transfers, files and waits, the longest first; then what went on in
/// the background.
fn time_table(trace: &Trace) -> String {
    let rows = trace.totals().into_iter().map(|total| {
        let rate = |amount: f64, unit: &str| match amount {
            0.0 => "-".to_owned(),
            amount => format!("{:.1} {unit}", amount / total.seconds / 1e9),
        };
        let name = match total.track {
            Some(_) => format!("{} (in the background)", total.name),
            None => total.name.clone(),
        };
        vec![
            name,
            total.count.to_string(),
            format!("{:.2}", total.seconds),
            match total.track {
                Some(_) => "-".to_owned(),
                None => format!("{:.2}%", 100.0 * total.seconds / trace.seconds()),
            },
            match total.clock {
                Clock::Host => "host",
                Clock::Device => "device",
            }
            .to_owned(),
            rate(total.work.flops, "GFLOP/s"),
            rate(total.work.bytes, "GB/s"),
        ]
    });
    let header = ["where the time went", "calls", "seconds", "share", "clock", "", ""];
    table::render(&header, &rows.collect::<Vec<_>>())
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
