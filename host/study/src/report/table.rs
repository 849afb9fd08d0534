//! The table: a row for every variant, a column for every evaluation's every metric.

use super::{
    data::CellState,
    metric::{IntervalOutcome, sparsity_title},
    view::{Column, Look, ReportVariant, ReportView},
};
use espalier_sdk::Sparsity;
use serde::Serialize;

/// One table of scores.
#[derive(Serialize)]
pub(super) struct ScoreTable<'a> {
    model: &'a str,
    sparsity: Option<Sparsity>,
    title: String,
    evaluations: Vec<EvaluationHead<'a>>,
    columns: Vec<ColumnHead>,
    rows: Vec<ScoreRow<'a>>,
}

/// The head of an evaluation's columns.
#[derive(Serialize)]
pub(super) struct EvaluationHead<'a> {
    name: &'a str,
    span: usize,
    items: usize,
}

/// The head of a column.
#[derive(Serialize)]
pub(super) struct ColumnHead {
    label: String,
    /// Up where more is better.
    arrow: &'static str,
}

#[derive(Serialize)]
struct ScoreRow<'a> {
    look: Look,
    label: &'a str,
    unfinished: Vec<UnfinishedCell<'a>>,
    scores: Vec<ScoreCell>,
}

/// A cell that has no scores, and the way to its box.
#[derive(Serialize)]
struct UnfinishedCell<'a> {
    state: CellState,
    hash: &'a str,
    seed: Option<u64>,
}

/// A score, or the state that explains why it is missing.
#[derive(Serialize, Default)]
struct ScoreCell {
    state: Option<&'static str>,
    mean: String,
    best: bool,
    spread: Option<String>,
    /// The dense model's interval over items, or the difference from dense.
    second: String,
    undecided: bool,
}

/// One table for every model and sparsity, each led by the dense model.
pub(super) fn tables<'a>(view: &ReportView<'a>) -> Vec<ScoreTable<'a>> {
    let mut tables = Vec::new();
    for &model in &view.models {
        let mut sparsities: Vec<_> = view.sparsities.iter().copied().map(Some).collect();
        if sparsities.is_empty() {
            sparsities.push(None);
        }
        for sparsity in sparsities {
            let rows: Vec<_> = view.pruned(model).filter(|variant| variant.sparsity == sparsity).collect();
            if !rows.is_empty() || sparsity.is_none() {
                tables.push(table(view, model, sparsity, &rows));
            }
        }
    }
    tables
}

/// The heads of all columns.
pub(super) fn heads<'a>(view: &ReportView<'a>) -> (Vec<EvaluationHead<'a>>, Vec<ColumnHead>) {
    let measured = view.report.evaluations.iter().filter(|evaluation| !evaluation.metrics.is_empty());
    let evaluations = measured.map(|evaluation| EvaluationHead {
        name: &evaluation.name,
        span: evaluation.metrics.len(),
        items: evaluation.items,
    });
    let columns = view.columns().into_iter().map(|column| ColumnHead {
        label: column.format.axis(),
        arrow: if column.metric.higher_is_better() { "↑" } else { "↓" },
    });
    (evaluations.collect(), columns.collect())
}

fn table<'a>(
    view: &ReportView<'a>,
    model: &'a str,
    sparsity: Option<Sparsity>,
    rows: &[&ReportVariant<'a>],
) -> ScoreTable<'a> {
    let columns = view.columns();
    let bests: Vec<_> = columns.iter().map(|column| best(rows, *column)).collect();
    let row = |variant: &ReportVariant<'a>| ScoreRow {
        look: view.look_of(variant),
        label: variant.label,
        unfinished: unfinished(variant),
        scores: columns
            .iter()
            .zip(&bests)
            .map(|(column, best)| cell(view, variant, *column, best.as_deref()))
            .collect(),
    };
    let title = match sparsity {
        Some(sparsity) => format!("{model}, {} of weights pruned", sparsity_title(sparsity)),
        None => model.to_owned(),
    };
    let rows = view.dense(model).into_iter().chain(rows.iter().copied()).map(row).collect();
    let (evaluations, columns) = heads(view);
    ScoreTable { model, sparsity, title, evaluations, columns, rows }
}

/// The best of the pruned variants' means, as it is shown, so that what reads the same is equally bold.
fn best(rows: &[&ReportVariant<'_>], column: Column<'_>) -> Option<String> {
    let means = rows.iter().filter_map(|variant| Some(variant.score(column)?.mean));
    let finite = means.filter(|mean| mean.is_finite());
    let best = finite.max_by(|a, b| column.format.gain(*a).total_cmp(&column.format.gain(*b)))?;
    Some(column.format.value(best))
}

/// The variant's cells that are not done.
fn unfinished<'a>(variant: &ReportVariant<'a>) -> Vec<UnfinishedCell<'a>> {
    let cells = variant.cells.iter().filter(|cell| cell.state != CellState::Done);
    cells.map(|cell| UnfinishedCell { state: cell.state, hash: &cell.hash, seed: cell.seed }).collect()
}

fn cell(
    view: &ReportView<'_>,
    variant: &ReportVariant<'_>,
    column: Column<'_>,
    best: Option<&str>,
) -> ScoreCell {
    let format = column.format;
    let Some(score) = variant.score(column) else {
        let state = match () {
            () if variant.count(CellState::Failed) > 0 => "failed",
            () if variant.count(CellState::Missing) > 0 => "missing",
            () => "none",
        };
        return ScoreCell { state: Some(state), ..ScoreCell::default() };
    };
    let mean = format.value(score.mean);
    let (second, undecided) = second_line(view, variant, column, score.mean);
    ScoreCell {
        state: None,
        best: variant.method.is_some() && best == Some(mean.as_str()),
        mean,
        spread: score.spread.map(|spread| format.value(spread)),
        second,
        undecided,
    }
}

/// Below a mean: the dense model's interval over items, or the difference from dense and whether it is
/// undecided.
fn second_line(
    view: &ReportView<'_>,
    variant: &ReportVariant<'_>,
    column: Column<'_>,
    mean: f64,
) -> (String, bool) {
    let format = column.format;
    if variant.method.is_none() {
        let cell =
            variant.cells.iter().find_map(|cell| cell.scores.get(column.evaluation)?.get(&column.metric));
        let interval = cell.map(|cell| format!("[{}, {}]", format.value(cell.low), format.value(cell.high)));
        return (interval.unwrap_or_default(), false);
    }
    if let Some(difference) = view.difference(variant, column) {
        let undecided = format.outcome(difference.low, difference.high) == IntervalOutcome::Undecided;
        return (format.signed(difference.difference), undecided);
    }
    let dense = view.dense(variant.model).and_then(|dense| dense.score(column));
    (dense.map_or_else(String::new, |dense| format.signed(mean - dense.mean)), false)
}
