//! `host select`.

use super::{CliError, args, calibrate, print, print_json, table};
use espalier_base::output;
use espalier_data::Tokenizer;
use espalier_device::choose;
use espalier_model::{LlamaConfig, resolve};
use espalier_plugins::{find, load, set_policy};
use espalier_select::{CalibrationRecord, Overlap, Row, SelectionTarget, Summary, read_rows, write_rows};
use serde::Serialize;
use std::path::Path;

/// The output of `host select --json`.
#[derive(Serialize)]
struct SelectReport<'a> {
    out: &'a Path,
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<Overlap>,
    record: &'a CalibrationRecord,
}

pub(super) fn run(command: &args::Select, verbosity: args::Verbosity) -> Result<(), CliError> {
    set_policy(command.opening.policy());
    // Everything that can be wrong with the request is found before anything long begins.
    let inputs = command.calibration.inputs().chain(command.compare.as_deref());
    output::check(&command.out, command.overwrite, inputs)?;
    let others = command.compare.as_deref().map(read_rows).transpose()?;
    let libraries =
        command.plugin.iter().map(|name| Ok(load(&find(name)?)?)).collect::<Result<Vec<_>, CliError>>()?;
    let folder = resolve(&command.model)?;
    let config = LlamaConfig::read(&folder)?;
    let device = || choose::open(&command.device.request());
    let target = SelectionTarget { folder: &folder, config: &config, device: &device };
    let options = command.calibration.options.iter().cloned().collect();
    let request = command.calibration.request(options);

    let selection = calibrate::select(&request, &libraries, target, verbosity)?;
    let tokenizer = Tokenizer::open(&folder, config.vocab_size)?;
    let rows = espalier_select::rows(&selection.windows, &selection.record, &tokenizer)?;
    write_rows(&command.out, &rows, command.overwrite)?;
    let report = SelectReport {
        out: &command.out,
        summary: Summary::new(&rows),
        overlap: others.map(|others: Vec<Row>| Overlap::new(&rows, &others)),
        record: &selection.record,
    };
    if command.json {
        return print_json(&report);
    }
    calibrate::show(&selection, command.calibration.show_samples, target)?;
    print(&text(&report, command))
}

/// The report for people.
fn text(report: &SelectReport, command: &args::Select) -> String {
    let SelectReport { out, summary, overlap, record } = report;
    let modes: std::collections::BTreeMap<_, _> =
        record.sources.iter().map(|source| (source.path.display().to_string(), source.mode)).collect();
    let rows: Vec<_> = summary
        .sources
        .iter()
        .map(|(source, share)| {
            let mode = modes.get(source).copied().flatten();
            vec![
                source.clone(),
                mode.map_or_else(|| "ready".to_owned(), |mode| mode.to_string()),
                share.windows.to_string(),
                share.documents.to_string(),
                share.tokens.to_string(),
            ]
        })
        .collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text = table::render(&["source", "cut", "windows", "documents", "tokens"], &rows) + "\n\n";
    }
    let selector = record.selector.as_ref().map_or("ready windows", |selector| &selector.name);
    text += &format!(
        "{selector}: {} windows of {} to {} tokens, {:.1} on average; {} tokens{}, {} of them different, seed {}\n",
        summary.windows,
        summary.shortest,
        summary.longest,
        summary.mean,
        summary.tokens,
        if summary.counted < summary.tokens {
            format!(" ({} count)", summary.counted)
        } else {
            String::new()
        },
        summary.unique_tokens,
        record.seed
    );
    if let (Some(overlap), Some(other)) = (overlap, &command.compare) {
        text += &format!(
            "shared with {}: {} windows, {} of {} documents, {} of {} different tokens\n",
            other.display(),
            overlap.windows,
            overlap.documents,
            overlap.all_documents,
            overlap.unique_tokens,
            overlap.all_unique_tokens
        );
    }
    text + &format!("written to {}", out.display())
}
