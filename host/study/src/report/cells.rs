//! Every cell of the matrix: its state at a glance, and the command that reproduces it.

use super::{
    data::{CellState, ReportCell},
    metric::{MetricFormat, duration, sparsity_title},
    view::{Look, ReportView, distinct},
};
use serde::Serialize;

/// The section of all cells.
#[derive(Serialize)]
pub(super) struct Cells<'a> {
    seeds: Vec<Option<u64>>,
    rows: Vec<StateRow<'a>>,
    boxes: Vec<CellBox<'a>>,
}

/// A variant's cells, by seed.
#[derive(Serialize)]
struct StateRow<'a> {
    look: Look,
    name: String,
    cells: Vec<Option<StateLink<'a>>>,
}

/// A cell's state and the way to its box.
#[derive(Serialize)]
struct StateLink<'a> {
    state: CellState,
    hash: &'a str,
    duration: Option<String>,
}

/// A cell with its command, its error, and its scores.
#[derive(Serialize)]
struct CellBox<'a> {
    hash: &'a str,
    state: CellState,
    title: String,
    command: &'a str,
    error: Option<&'a str>,
    facts: Vec<(&'static str, String)>,
    scores: Vec<CellScore<'a>>,
}

#[derive(Serialize)]
struct CellScore<'a> {
    evaluation: &'a str,
    metric: String,
    mean: String,
    low: String,
    high: String,
    items: usize,
}

/// Variants against seeds, and a box for every cell.
pub(super) fn cells<'a>(view: &ReportView<'a>) -> Cells<'a> {
    let seeds = distinct(view.report.cells.iter().map(|cell| cell.seed));
    let rows = view.variants.iter().map(|variant| StateRow {
        look: view.look_of(variant),
        name: view.name(variant.label, variant.sparsity) + &view.of_model(variant.model),
        cells: seeds
            .iter()
            .map(|seed| variant.cells.iter().find(|cell| cell.seed == *seed).map(|cell| link(cell)))
            .collect(),
    });
    let boxes = view.report.cells.iter().map(|cell| CellBox {
        hash: &cell.hash,
        state: cell.state,
        title: title(view, cell),
        command: &cell.command,
        error: cell.error.as_deref(),
        facts: facts(cell),
        scores: scores(cell),
    });
    Cells { rows: rows.collect(), boxes: boxes.collect(), seeds }
}

fn link(cell: &ReportCell) -> StateLink<'_> {
    let seconds = cell.seconds.filter(|_| cell.state == CellState::Done);
    StateLink { state: cell.state, hash: &cell.hash, duration: seconds.map(duration) }
}

fn title(view: &ReportView<'_>, cell: &ReportCell) -> String {
    let mut title = cell.label.clone();
    if let (Some(sparsity), Some(_)) = (cell.sparsity, &cell.method) {
        title += &format!(" at {}", sparsity_title(sparsity));
    }
    if let Some(seed) = cell.seed {
        title += &format!(", seed {seed}");
    }
    title + &view.of_model(&cell.model)
}

fn facts(cell: &ReportCell) -> Vec<(&'static str, String)> {
    let facts = [
        ("model", Some(cell.model.clone())),
        ("method", cell.method.clone()),
        ("sparsity asked for", cell.sparsity.map(|sparsity| sparsity.to_string())),
        ("calibration", cell.calibration.clone()),
        ("selector", cell.selector.clone()),
        ("sparsity reached", cell.reached.map(|reached| format!("{:.2}%", reached * 100.0))),
        ("time", cell.seconds.map(duration)),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn scores(cell: &ReportCell) -> Vec<CellScore<'_>> {
    let all = cell.scores.iter().flat_map(|(evaluation, metrics)| {
        metrics.iter().map(move |(&metric, score)| {
            let format = MetricFormat::of(metric);
            CellScore {
                evaluation,
                metric: format.axis(),
                mean: format.value(score.mean),
                low: format.value(score.low),
                high: format.value(score.high),
                items: score.items,
            }
        })
    });
    all.collect()
}
