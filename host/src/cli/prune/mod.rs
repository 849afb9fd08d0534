//! `host prune`.

mod request;
mod text;

use super::{CliError, args, calibrate, clean, note, print, print_json, progress};
use espalier_base::{
    files::{self, Limit},
    output, profile,
};
use espalier_device::{Device, Profiled, choose};
use espalier_model::{
    Llama, Window,
    writer::{MANIFEST, WriteError, tidy},
};
use espalier_plugins::set_policy;
use espalier_prune::{Fingerprint, Manifest, PruneEvent, Run};
use espalier_select::{CalibrationRecord, Selection, SelectionTarget};
use request::PruneRequest;
use std::{path::Path, sync::Arc};

pub(super) fn run(command: &args::Prune, verbosity: args::Verbosity) -> Result<(), CliError> {
    set_policy(command.opening.policy());
    // Everything that can be wrong with the request is found before anything long begins.
    let request = PruneRequest::resolve(command)?;
    let device = open_device(&request)?;
    let model = Llama::open(&request.folder, device)?;
    let PruneRequest { settings, method, out, .. } = &request;
    let run = match request.finished {
        Some(_) => None,
        None => Some(Run::begin(settings, method, &model, *out)?),
    };
    clean::mention(out.path);

    let selection = request.calibration.as_ref().map(|calibration| {
        let device = || Ok(Arc::clone(&model.device));
        let target = SelectionTarget { folder: &request.folder, config: &model.config, device: &device };
        let selection = calibrate::select(calibration, &request.libraries, target, verbosity)?;
        calibrate::show(&selection, request.show_samples, target)?;
        Ok::<_, CliError>(selection)
    });
    let selection = selection.transpose()?;
    let windows = selection.as_ref().map_or_else(Vec::new, Selection::views);
    let Some(run) = run else {
        let fingerprint = Fingerprint::new(settings, method, &model, &windows)?.sha256();
        let same = request.finished.as_ref() == Some(&fingerprint);
        return already_finished(out.path, same, request.json);
    };
    let record = selection.as_ref().map(|selection| selection.record.clone());
    let manifest = finish_with_bar(run, &windows, record, verbosity)?;
    if let Some(path) = request.profile {
        let trace = profile::finish();
        output::write(path, out.overwrite, |out| trace.write(out))?;
        note(&text::time_table(&trace), verbosity);
    }
    if request.json { print_json(&manifest) } else { print(&text::summary(&manifest, out.path)) }
}

/// The run's device, profiled where a profile is asked for.
fn open_device(request: &PruneRequest) -> Result<Arc<dyn Device>, CliError> {
    let mut device = choose::open(&request.device)?;
    if request.profile.is_some() {
        device = Arc::new(Profiled::new(device)?);
        profile::start();
    }
    tracing::info!("on {}", device.info());
    Ok(device)
}

/// Where `--resume` finds the output finished: if this run made it, there is nothing to do.
fn already_finished(out: &Path, same: bool, json: bool) -> Result<(), CliError> {
    if !same {
        return Err(WriteError::Exists(out.to_owned()).into());
    }
    tidy(out)?;
    if !json {
        return print(&format!("{} was finished by an earlier run of the same settings", out.display()));
    }
    let path = out.join(MANIFEST);
    let manifest = files::read_text(&path, Limit::RECORD);
    print(&manifest.map_err(|source| WriteError::Read { path, source })?)
}

/// Finishes a run under a progress bar, and logs what became of each layer.
fn finish_with_bar(
    run: Run,
    windows: &[Window],
    calibration: Option<CalibrationRecord>,
    verbosity: args::Verbosity,
) -> Result<Manifest, CliError> {
    let bar =
        progress::bar("pruning", Run::expected_work(std::slice::from_ref(&run), windows), verbosity.quiet);
    let result = run.finish(windows, calibration, &mut |event| {
        bar.inc(event.work() as u64);
        if let PruneEvent::Planned(memory) = event {
            bar.set_position(0);
            bar.suspend(|| note(&memory.to_string(), verbosity));
        }
        if let PruneEvent::Continued { blocks, of } = event {
            let text = format!("continuing an unfinished run: {blocks} of {of} blocks are finished");
            bar.suspend(|| note(&text, verbosity));
        }
        if let PruneEvent::Stage { stage, done, of } = event {
            bar.set_message(format!("{stage}: step {done} of {of}"));
        }
        if let PruneEvent::Decided { stage, decision, left_out } = event {
            let targets = decision.targets.per_layer.len();
            let left_out = left_out.map_or_else(String::new, |left_out| format!(", {left_out} are left out"));
            let text = format!("{stage} has decided: {targets} targets of their own{left_out}");
            bar.suspend(|| note(&text, verbosity));
        }
        if let PruneEvent::Layer(layer) = event {
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
