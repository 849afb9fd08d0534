//! `host plugins check`.

use super::{CliError, args, print, print_json, progress, table};
use espalier_device::{Device, choose};
use espalier_plugins::{Library, find, load, set_policy};
use espalier_prune::{
    Method,
    check::{CaseOutcome, CheckReport, check, count},
};
use std::sync::Arc;

pub(super) fn run(command: &args::CheckPlugin, verbosity: args::Verbosity) -> Result<(), CliError> {
    set_policy(command.opening.policy());
    let mut libraries = vec![load(&find(&command.library)?)?];
    let options = command.options.iter().cloned().collect();
    // Stages that the library does not offer are of libraries of their names.
    for name in command.method.iter().flat_map(|names| names.split(',')).map(str::trim) {
        let offers = |library: &Library| library.info().methods.iter().any(|method| method.name == name);
        if command.method.as_deref() != Some(name) && !libraries.iter().any(offers) {
            libraries.push(load(&find(name)?)?);
        }
    }
    let method = Method::find(&libraries, command.method.as_deref(), &options)?;
    let devices = devices(command)?;
    let bar = progress::bar("checking", count(&method), verbosity.quiet);
    let report = check(&method, &devices, &mut || bar.inc(1));
    bar.finish_and_clear();
    let report = report?;
    if command.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    match report.failed() {
        0 => Ok(()),
        failed => {
            let (name, of) = (&report.method.name, report.cases.len());
            Err(CliError::Failed(format!("{name} fails {failed} of {of} checks")))
        }
    }
}

/// The CPU, and the device that was asked for if it is another.
fn devices(command: &args::CheckPlugin) -> Result<Vec<Arc<dyn Device>>, CliError> {
    let request = command.device.request();
    let cpu = choose::DeviceRequest { choice: choose::DeviceChoice::Cpu, ..request.clone() };
    let mut devices = vec![choose::open(&cpu)?];
    let other = choose::open(&request)?;
    if other.info().kind != devices[0].info().kind {
        devices.push(other);
    }
    Ok(devices)
}

fn text(report: &CheckReport) -> String {
    let rows = report.cases.iter().map(|case| {
        let outcome = match case.outcome {
            CaseOutcome::Ok => "ok",
            CaseOutcome::Refused => "refused",
            CaseOutcome::Failed => "FAILED",
        };
        let [rows, cols] = case.shape;
        vec![
            case.case.to_owned(),
            format!("{rows} × {cols}"),
            case.target.to_string(),
            case.device.to_string(),
            outcome.to_owned(),
            case.detail.clone(),
        ]
    });
    let header = ["layer or model", "shape", "target", "device", "", "what was found"];
    let mut lines = vec![table::render(&header, &rows.collect::<Vec<_>>()), String::new()];
    for (place, device) in report.devices.iter().enumerate() {
        let time = report.times.get(place).map_or_else(String::new, |time| {
            let (method, smallest) = (time.method * 1e3, time.smallest * 1e3);
            format!(
                ": {method:.1} ms for a layer of 512 × 512 ({smallest:.1} ms to zero the smallest weights)"
            )
        });
        lines.push(format!("device {place}, {device}{time}"));
    }
    let method = &report.method;
    lines.push(format!("{} of {}, SHA-256 {}", method.name, method.version, method.sha256));
    lines.join("\n")
}
