//! A study's results: gathered from its cells, compared, and written.

pub(crate) mod by_name;
mod collect;
mod findings;
mod paired;
mod predictions;
mod properties;
mod retention;
mod table;

pub(super) use collect::{
    FAILED, Failure, PREDICTIONS, PRUNING, SCORES, Scores, evaluation_folder, knows_pruning, scores,
};

pub(super) use properties::properties_file;

use super::{
    Plan, Result, StudyError,
    folder::{self, Folder},
    report::{self, CellState, Report, render},
};
use espalier_base::files::{self, Limit};
use espalier_evaluate::{Mean, Retention};
use serde::{Deserialize, de::IgnoredAny};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    io,
};

/// A study's results, as far as they are there.
///
/// # Errors
/// A result that cannot be read.
pub fn gather(plan: &Plan, command: &str) -> Result<Report> {
    let folder = Folder::existing(plan.out());
    let study = plan.study();
    let mut cells = Vec::new();
    let mut devices: Vec<String> = Vec::new();
    for cell in plan.cells() {
        let (cell, device) = collect::cell(plan, &folder, cell, command)?;
        cells.push(cell);
        devices.extend(device.filter(|device| !devices.contains(device)));
    }
    let evaluations = study.evaluations.iter().map(|evaluation| {
        let items = cells.iter().flat_map(|cell| cell.scores.get(evaluation.name())?.values().next());
        report::Evaluation {
            name: evaluation.name().to_owned(),
            metrics: evaluation.task.metrics.clone(),
            items: items.map(|mean| mean.items).max().unwrap_or(0),
            group: evaluation.group.clone(),
        }
    });
    let calibrations = study.calibrations.iter().map(|set| report::Calibration {
        name: set.name.clone(),
        kind: set.kind,
        summary: set.summary(),
    });
    Ok(Report {
        title: study.title.clone(),
        espalier: env!("CARGO_PKG_VERSION").to_owned(),
        device: (!devices.is_empty()).then(|| devices.join(", ")),
        study_file: study.file.path().display().to_string(),
        study_toml: study.file.text().to_owned(),
        command: command.to_owned(),
        evaluations: evaluations.collect(),
        calibrations: calibrations.collect(),
        cells,
        ..Report::default()
    })
}

/// Checks that the results in the folder are this study's, before anything is run.
///
/// # Errors
/// None of the results there is one of this study, which makes them another's; or they cannot be read.
pub(super) fn check_owner(plan: &Plan) -> Result<()> {
    let path = plan.out().join("results.jsonl");
    let text = match files::read_text(&path, Limit::RECORD) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StudyError::Read { path, source }),
    };
    // A line that cannot be read is not a result that could be lost.
    let there = text.lines().filter_map(|line| serde_json::from_str::<KeptResult>(line).ok());
    let there: BTreeSet<ResultRow> = there.flat_map(KeptResult::rows).collect();
    let evaluations = &plan.study().evaluations;
    let due: BTreeSet<ResultRow> = plan
        .cells()
        .iter()
        .flat_map(|cell| {
            let model = plan.study().models[cell.model].name.clone();
            let of = move |name: &String| (model.clone(), plan.label(cell), name.clone());
            evaluations.iter().map(move |evaluation| of(&evaluation.task.name))
        })
        .collect();
    if !there.is_empty() && there.is_disjoint(&due) {
        let message = format!(
            "{} holds the results of another study, of which {} has nothing: give another folder with --out, or remove {} to \
             replace its table and report",
            plan.out().display(),
            plan.study().file.path().display(),
            path.display()
        );
        return Err(StudyError::Request(message));
    }
    let lost: BTreeSet<_> =
        there.difference(&due).map(|(model, row, of)| format!("{model} {row} {of}")).collect();
    if let Some(first) = lost.first() {
        tracing::warn!(
            "{} results in {} are not of this study file and leave its table and report; the first: {}. They stay in its \
             cells: the study file that names them brings them back",
            lost.len(),
            plan.out().display(),
            espalier_base::text::line(first)
        );
    }
    Ok(())
}

/// A result's model, row of the table, and evaluation.
type ResultRow = (String, String, String);

/// The part of a line of `results.jsonl` that is read.
#[derive(Deserialize)]
struct KeptResult {
    model: String,
    label: String,
    #[serde(default)]
    scores: BTreeMap<String, IgnoredAny>,
}

impl KeptResult {
    fn rows(self) -> Vec<ResultRow> {
        let Self { model, label, scores } = self;
        scores.into_keys().map(|evaluation| (model.clone(), label.clone(), evaluation)).collect()
    }
}

/// Writes `results.jsonl`, `results.csv`, `table.md` and `report.html`, of calibration data `properties.csv` and
/// `correlations.csv`, and gives back the table.
///
/// # Errors
/// A result that cannot be read, or a file that cannot be written.
pub fn write_results(plan: &Plan, command: &str) -> Result<String> {
    let folder = Folder::existing(plan.out());
    // What is gathered later is written later, so that the last to write knows everything.
    let _lease = folder.wait("results")?;
    let mut report = gather(plan, command)?;
    paired::compare(plan, &folder, &mut report)?;
    retention::measure(plan, &folder, &mut report)?;
    properties::measure(plan, &folder, &mut report)?;
    predictions::pick(plan, &folder, &mut report)?;
    let table = table::render(&report);
    folder::write(&folder.path("results.jsonl"), jsonl(&report)?.as_bytes())?;
    folder::write(&folder.path("results.csv"), csv(&report).as_bytes())?;
    folder::write(&folder.path("table.md"), table.as_bytes())?;
    properties::write(&folder, &report)?;
    let page = render(&report).map_err(StudyError::Report)?;
    folder::write(&folder.path("report.html"), page.as_bytes())?;
    Ok(table)
}

/// A cell a line.
fn jsonl(report: &Report) -> Result<String> {
    let mut text = String::new();
    for cell in &report.cells {
        let line = serde_json::to_string(cell)
            .map_err(|source| StudyError::Malformed { path: "results.jsonl".into(), source })?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// A score a line; a cell without scores has a line too.
fn csv(report: &Report) -> String {
    let mut text = String::from(
        "hash,state,model,label,method,sparsity,reached,calibration,selector,seed,evaluation,metric,mean,low,high,items\n",
    );
    for cell in &report.cells {
        let state = match cell.state {
            CellState::Done => "done",
            CellState::Failed => "failed",
            CellState::Missing => "missing",
        };
        let or_nothing = |value: &Option<String>| quoted(value.as_deref().unwrap_or(""));
        let about = [
            cell.hash.clone(),
            state.to_owned(),
            quoted(&cell.model),
            quoted(&cell.label),
            or_nothing(&cell.method),
            cell.sparsity.map_or_else(String::new, |sparsity| sparsity.to_string()),
            cell.reached.map_or_else(String::new, |reached| reached.to_string()),
            or_nothing(&cell.calibration),
            or_nothing(&cell.selector),
            cell.seed.map_or_else(String::new, |seed| seed.to_string()),
        ]
        .join(",");
        let scores: Vec<_> = cell
            .scores
            .iter()
            .flat_map(|(name, scores)| by_name::sorted(scores).into_iter().map(move |score| (name, score)))
            .collect();
        if scores.is_empty() {
            let _ = writeln!(text, "{about},,,,,,");
        }
        for (evaluation, (metric, score)) in scores {
            let evaluation = quoted(evaluation);
            let Mean { mean, low, high, items, .. } = score;
            let _ = writeln!(text, "{about},{evaluation},{metric},{mean},{low},{high},{items}");
        }
        for (group, kept) in &cell.retention {
            let Retention { share, low, high, items } = kept;
            let _ = writeln!(text, "{about},{},retention,{share},{low},{high},{items}", quoted(group));
        }
    }
    text
}

/// A field of CSV (RFC 4180) that no spreadsheet takes for a formula.
fn quoted(text: &str) -> String {
    let text =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_field_is_a_formula() {
        assert_eq!(super::quoted("Wanda-C4"), "Wanda-C4");
        assert_eq!(super::quoted("=HYPERLINK(\"http://x\")"), "\"'=HYPERLINK(\"\"http://x\"\")\"");
        assert_eq!(super::quoted("@a,b"), "\"'@a,b\"");
    }
}
