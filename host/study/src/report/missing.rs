//! What is still missing of a study: the cells that have not run, and about how long they will take.

use super::{
    data::{CellState, ReportCell},
    metric::{duration, sparsity_title},
    view::{ReportVariant, ReportView},
};
use serde::Serialize;

/// What is still missing.
#[derive(Serialize)]
pub(crate) struct Missing {
    /// How many cells, and about how long they will take.
    pub(crate) summary: String,
    /// Variants with what is missing of them.
    pub(crate) variants: Vec<String>,
}

/// What is still missing; nothing where no cell is.
pub(crate) fn missing(view: &ReportView<'_>) -> Option<Missing> {
    let variants: Vec<_> = view.variants.iter().filter_map(|variant| words(view, variant)).collect();
    let left: Vec<&ReportCell> =
        view.report.cells.iter().filter(|cell| cell.state == CellState::Missing).collect();
    if left.is_empty() {
        return None;
    }
    let of = view.report.cells.len();
    let mut summary = format!("{} of {of} cells have not run", left.len());
    let seconds: Option<f64> = left.iter().map(|cell| pace(view, cell)).sum();
    if let Some(seconds) = seconds {
        summary += &format!("; at the pace of those that have, they take about {}", duration(seconds));
    }
    summary += ". The command of the study goes on with them.";
    Some(Missing { summary, variants })
}

/// What is missing of a variant.
fn words(view: &ReportView<'_>, variant: &ReportVariant<'_>) -> Option<String> {
    let left: Vec<_> = variant.cells.iter().filter(|cell| cell.state == CellState::Missing).collect();
    if left.is_empty() {
        return None;
    }
    let mut text = variant.label.to_owned();
    if let Some(sparsity) = variant.sparsity {
        text += &format!(" at {}", sparsity_title(sparsity));
    }
    text += &view.of_model(variant.model);
    let seeds: Vec<_> = left.iter().filter_map(|cell| cell.seed).map(|seed| seed.to_string()).collect();
    if left.len() < variant.cells.len() {
        let plural = if seeds.len() == 1 { "seed" } else { "seeds" };
        text += &format!(": {plural} {}", seeds.join(", "));
    }
    Some(text)
}

/// The seconds that a cell will take: the mean of those of the same model and method, else of the same model, that have run.
fn pace(view: &ReportView<'_>, cell: &ReportCell) -> Option<f64> {
    let mean = |same: &dyn Fn(&&ReportCell) -> bool| {
        let done = view.report.cells.iter().filter(|other| other.state == CellState::Done);
        let seconds: Vec<_> = done.filter(same).filter_map(|other| other.seconds).collect();
        (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64)
    };
    let of_model = |other: &&ReportCell| other.model == cell.model;
    mean(&|other| of_model(other) && other.method == cell.method).or_else(|| mean(&of_model))
}
