//! `host plugins check`.

use super::{CliError, args, print, print_json, progress, table};
use espalier_device::{Device, choose};
use espalier_plugins::{find, load, set_policy};
use espalier_prune::{
    Method,
    check::{CaseOutcome, CheckReport, check, layers},
};
use espalier_sdk::Scope;
use std::sync::Arc;

pub(super) fn run(command: &args::CheckPlugin, verbosity: args::Verbosity) -> Result<(), CliError> {
    set_policy(command.opening.policy());
    let libraries = [load(&find(&command.library)?)?];
    let options = command.options.iter().cloned().collect();
    let method = Method::find(&libraries, command.method.as_deref(), &options)?;
    if let Some(stage) = method.stages().iter().find(|stage| stage.info().scope != Scope::Layer) {
        let info = stage.info();
        return Err(CliError::NotChecked {
            method: info.name.clone(),
            scope: format!("{:?}", info.scope).to_lowercase(),
        });
    }
    let devices = devices(command)?;
    let bar = progress::bar("checking", layers(), verbosity.quiet);
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
    let header = ["layer", "shape", "target", "device", "", "what was found"];
    let mut lines = vec![table::render(&header, &rows.collect::<Vec<_>>()), String::new()];
    for (place, (device, time)) in report.devices.iter().zip(&report.times).enumerate() {
        let (method, smallest) = (time.method * 1e3, time.smallest * 1e3);
        lines.push(format!(
            "device {place}, {device}: {method:.1} ms for a layer of 512 × 512 ({smallest:.1} ms to zero the smallest weights)"
        ));
    }
    let method = &report.method;
    lines.push(format!("{} of {}, SHA-256 {}", method.name, method.version, method.sha256));
    lines.join("\n")
}
