//! `host study`.

use super::{
    CliError,
    args::{self, ListFormat},
    print, print_json, progress, table,
};
use espalier_base::text::shell_quote;
use espalier_device::{Compute, choose};
use espalier_plugins::set_policy;
use espalier_prune::Size;
use espalier_sdk::Sparsity;
use espalier_study::{
    CellChoice, CellEnd, Estimate, KeepModels, Plan, ScoreChange, Study, StudyEvent, StudyFile, StudyOutcome,
    Verdict, diff, gather,
    report::{CellState, ReportCell, duration},
    run as run_cells, write_results,
};
use indicatif::ProgressBar;
use serde::Serialize;
use std::path::{Path, PathBuf};

pub(super) fn run(command: &args::Study, verbosity: args::Verbosity) -> Result<(), CliError> {
    if let Some(args::StudyAction::Diff(command)) = &command.action {
        return compare(command);
    }
    let Some(path) = &command.file else { return Err(CliError::Usage("give a study file".to_owned())) };
    set_policy(command.opening.policy());
    let study = Study::check(StudyFile::read(path)?)?;
    let out = command.out.clone().unwrap_or_else(|| default_out(path));
    let request = command.device.request();
    let choice = CellChoice {
        cells: command.cell.clone(),
        shard: command.shard,
        most_telling_first: command.budget.is_some(),
        compute: request.compute,
    };
    let plan = Plan::new(&study, &out, &choice)?;
    let quoted = |path: &Path| shell_quote(&path.to_string_lossy());
    let mut words = format!("host study {} --out {}", quoted(path), quoted(&out));
    if request.compute != Compute::F32 {
        words += &format!(" --compute {}", request.compute);
    }
    if let Some(format) = command.list_cells {
        return list(&plan, &words, format);
    }
    if command.dry_run {
        return dry_run(&plan, &words, command);
    }
    let outcome = run_with_bars(&plan, command, verbosity)?;
    let table = write_results(&plan, &words)?;
    if command.json {
        print_json(&chosen(&plan, &words)?)?
    } else {
        print(&table)?
    }
    tracing::info!("results are in {}", out.display());
    ended(&outcome, &out)
}

/// The default folder of results: the study file's name, in the working directory.
fn default_out(study: &Path) -> PathBuf {
    let mut name = study.file_stem().unwrap_or(study.as_os_str()).to_owned();
    name.push("-results");
    PathBuf::from(name)
}

/// The result of a run for the exit code.
fn ended(outcome: &StudyOutcome, out: &Path) -> Result<(), CliError> {
    if outcome.interrupted {
        return Err(CliError::Again("the study was interrupted; run it again to go on".to_owned()));
    }
    if outcome.held > 0 {
        let held = outcome.held;
        let message = format!("other processes still work on {held} cells; run again for the whole table");
        return Err(CliError::Again(message));
    }
    if outcome.left > 0 {
        let StudyOutcome { left, left_time, .. } = outcome;
        let message = format!(
            "{left} cells were not begun, as the next would not have ended within the budget; they take about {}. What is missing \
             stands in {}/table.md; run again to go on",
            duration(left_time.as_secs_f64()),
            out.display()
        );
        return Err(CliError::Again(message));
    }
    if outcome.failed > 0 {
        let (failed, out) = (outcome.failed, out.display());
        return Err(CliError::Failed(format!("{failed} cells failed; {out}/report.html says why")));
    }
    if outcome.undescribed > 0 {
        let undescribed = outcome.undescribed;
        let message =
            format!("the calibration data of {undescribed} cells could not be measured; run again to do it");
        return Err(CliError::Again(message));
    }
    Ok(())
}

/// Runs the cells under a bar for each part of their work.
fn run_with_bars(
    plan: &Plan,
    command: &args::Study,
    verbosity: args::Verbosity,
) -> Result<StudyOutcome, CliError> {
    let mut bar = ProgressBar::hidden();
    let mut of_all = String::new();
    let outcome = run_cells(plan, &command.device.request(), command.budget, &mut |event| match event {
        StudyEvent::Begins { cell, place, of } => of_all = format!("[{place}/{of}] {cell}"),
        StudyEvent::Step { what, total } => {
            bar.finish_and_clear();
            bar = progress::bar(what, total, verbosity.quiet);
            bar.set_message(of_all.clone());
        }
        StudyEvent::Progress(count) => bar.inc(count as u64),
        StudyEvent::Ends { cell, state, seconds } => {
            bar.finish_and_clear();
            match state {
                CellEnd::Was => tracing::debug!("{of_all}: done before"),
                CellEnd::Done => tracing::info!("{of_all}: {seconds:.1} s"),
                CellEnd::Held => tracing::info!("{of_all}: another process works on it"),
                CellEnd::Failed(error) => tracing::warn!("{cell} failed: {error}"),
            }
        }
    });
    bar.finish_and_clear();
    Ok(outcome?)
}

/// The chosen cells with what is there of their results.
fn chosen(plan: &Plan, words: &str) -> Result<Vec<ReportCell>, CliError> {
    let cells = gather(plan, words)?.cells;
    let chosen = cells.into_iter().filter(|cell| plan.chosen().iter().any(|chosen| chosen.hash == cell.hash));
    Ok(chosen.collect())
}

/// A cell, as it is listed.
#[derive(Serialize)]
struct ListedCell<'a> {
    hash: &'a str,
    state: CellState,
    model: &'a str,
    label: &'a str,
    method: Option<&'a str>,
    sparsity: Option<Sparsity>,
    calibration: Option<&'a str>,
    seed: Option<u64>,
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<Estimate>,
}

/// A value of a table, or a dash.
fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl<'a> ListedCell<'a> {
    const HEADER: [&'static str; 6] = ["cell", "model", "row", "sparsity", "seed", "state"];

    fn new(cell: &'a ReportCell) -> Self {
        Self {
            hash: &cell.hash,
            state: cell.state,
            model: &cell.model,
            label: &cell.label,
            method: cell.method.as_deref(),
            sparsity: cell.sparsity,
            calibration: cell.calibration.as_deref(),
            seed: cell.seed,
            command: &cell.command,
            estimate: None,
        }
    }

    fn row(&self) -> Vec<String> {
        let state = match self.state {
            CellState::Done => "done",
            CellState::Failed => "failed",
            CellState::Missing => "-",
        };
        let seed = or_dash(self.seed);
        let sparsity = or_dash(self.sparsity);
        [self.hash, self.model, self.label, &sparsity, &seed, state].map(str::to_owned).to_vec()
    }
}

fn list(plan: &Plan, words: &str, format: ListFormat) -> Result<(), CliError> {
    let cells = chosen(plan, words)?;
    let listed: Vec<_> = cells.iter().map(ListedCell::new).collect();
    match format {
        ListFormat::Json => print_json(&serde_json::json!({ "cells": listed })),
        ListFormat::Text => {
            let rows: Vec<_> = listed.iter().map(ListedCell::row).collect();
            print(&table::render(&ListedCell::HEADER, &rows))
        }
    }
}

fn dry_run(plan: &Plan, words: &str, command: &args::Study) -> Result<(), CliError> {
    let device = choose::open(&command.device.request())?;
    let cells = chosen(plan, words)?;
    let estimates = plan.estimates(&device)?;
    let mut listed: Vec<_> = cells.iter().map(ListedCell::new).collect();
    for (listed, estimate) in listed.iter_mut().zip(&estimates) {
        listed.estimate = Some(*estimate);
    }
    let left = || cells.iter().zip(&estimates).filter(|(cell, _)| cell.state != CellState::Done);
    let seconds = left().map(|(_, estimate)| estimate.seconds()).fold(0.0, |sum, seconds| sum + seconds);
    let most = |bytes: fn(&Estimate) -> u64| left().map(|(_, estimate)| bytes(estimate)).max().unwrap_or(0);
    let memory = most(|estimate| estimate.memory_bytes);
    let disk = if plan.study().keep_models != KeepModels::No {
        left().map(|(_, estimate)| estimate.disk_bytes).sum()
    } else {
        most(|estimate| estimate.disk_bytes)
    };
    if command.json {
        return print_json(&serde_json::json!({
            "device": device.info(),
            "seconds": seconds,
            "memory_bytes": memory,
            "disk_bytes": disk,
            "cells": listed,
        }));
    }
    let mut header = ListedCell::HEADER.to_vec();
    header.extend(["pruning", "evaluation", "TFLOP", "memory", "disk"]);
    let rows: Vec<_> = listed
        .iter()
        .zip(&estimates)
        .map(|(listed, estimate)| {
            let mut row = listed.row();
            row.extend([
                duration(estimate.pruning_seconds),
                duration(estimate.evaluation_seconds),
                format!("{:.3}", estimate.operations / 1e12),
                Size(estimate.memory_bytes).to_string(),
                Size(estimate.disk_bytes).to_string(),
            ]);
            row
        })
        .collect();
    print(&format!(
        "{}\n\n{} cells are left to run: about {} on {}, {} of memory and {} of disk\n\
         (should every answer be as long as it may be; nothing was run)",
        table::render(&header, &rows),
        left().count(),
        duration(seconds),
        device.info().name,
        Size(memory),
        Size(disk),
    ))
}

fn compare(command: &args::StudyDiff) -> Result<(), CliError> {
    let changes = diff(&command.before, &command.after, command.tolerance)?;
    let worse = changes.iter().filter(|change| change.is_regression()).count();
    if command.json {
        print_json(&serde_json::json!({ "regressions": worse, "changes": changes }))?;
    } else {
        let rows: Vec<_> =
            changes.iter().filter(|change| change.verdict != Verdict::Same).map(difference).collect();
        let same = changes.len() - rows.len();
        let header = ["model", "row", "sparsity", "evaluation", "metric", "before", "after", "verdict"];
        let table = if rows.is_empty() { String::new() } else { table::render(&header, &rows) + "\n\n" };
        print(&format!("{table}{same} of {} scores are the same", changes.len()))?;
    }
    if worse == 0 { Ok(()) } else { Err(CliError::Failed(format!("{worse} scores are worse or missing"))) }
}

fn difference(change: &ScoreChange) -> Vec<String> {
    let score = |score: Option<f64>| score.map_or_else(|| "-".to_owned(), |score| format!("{score:.4}"));
    let verdict = match change.verdict {
        Verdict::Same => "same",
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Missing => "missing",
        Verdict::New => "new",
    };
    vec![
        change.model.clone(),
        change.label.clone(),
        or_dash(change.sparsity),
        change.evaluation.clone(),
        change.metric.to_string(),
        score(change.before),
        score(change.after),
        verdict.to_owned(),
    ]
}
