//! Calibration sets against evaluations, for each method.

use crate::report::{
    data::CellState,
    metric::sparsity_title,
    table::{ColumnHead, EvaluationHead, heads},
    view::{Column, ReportVariant, ReportView},
};
use espalier_sdk::Sparsity;
use serde::Serialize;

/// The strongest colour: mixed with the page's ground so far that the number on it can still be read.
pub(super) const STRONGEST: f64 = 55.0;

/// One map: of a model, a sparsity and a method.
#[derive(Serialize)]
pub(in super::super) struct HeatMap<'a> {
    model: &'a str,
    sparsity: Sparsity,
    title: String,
    evaluations: Vec<EvaluationHead<'a>>,
    columns: Vec<ColumnHead>,
    rows: Vec<HeatRow>,
}

/// A calibration set's tiles.
#[derive(Serialize)]
pub(super) struct HeatRow {
    pub(super) set: String,
    pub(super) tiles: Vec<HeatTile>,
}

/// A score and its difference from dense, on the colour of that difference.
#[derive(Serialize)]
pub(super) struct HeatTile {
    pub(super) class: &'static str,
    /// How much of the colour, in percent.
    pub(super) share: Option<f64>,
    pub(super) text: String,
    pub(super) difference: Option<String>,
}

/// One map for every model, sparsity and method that has calibration sets. The colour is the difference
/// from dense, turned so that better is always the same colour, and scaled by each metric's largest.
pub(in super::super) fn heat_maps<'a>(view: &ReportView<'a>) -> Vec<HeatMap<'a>> {
    let columns = view.columns();
    let mut maps = Vec::new();
    for &model in &view.models {
        for &sparsity in &view.sparsities {
            for &method in &view.methods {
                let own = view
                    .pruned(model)
                    .filter(|row| row.method == Some(method) && row.sparsity == Some(sparsity));
                let rows = own.filter_map(|row| {
                    let tiles = columns.iter().map(|column| tile(view, model, row, *column)).collect();
                    Some(HeatRow { set: row.set.clone()?, tiles })
                });
                let rows: Vec<_> = rows.collect();
                if !rows.is_empty() {
                    let title = format!("{method} at {}{}", sparsity_title(sparsity), view.of_model(model));
                    let (evaluations, columns) = heads(view);
                    maps.push(HeatMap { model, sparsity, title, evaluations, columns, rows });
                }
            }
        }
    }
    maps
}

fn tile(view: &ReportView<'_>, model: &str, row: &ReportVariant<'_>, column: Column<'_>) -> HeatTile {
    let format = column.format;
    let Some(score) = row.score(column) else {
        let word = if row.count(CellState::Failed) > 0 { "failed" } else { "missing" };
        return HeatTile { class: word, share: None, text: word.to_owned(), difference: None };
    };
    let dense = view.dense(model).and_then(|dense| dense.score(column)).map(|score| score.mean);
    let difference = dense.map(|dense| score.mean - dense);
    let share = difference.map_or(0.0, |difference| intensity(view, model, column, format.gain(difference)));
    HeatTile {
        class: if share < 0.0 { "tile worse" } else { "tile better" },
        share: Some(share.abs() * STRONGEST),
        text: format.value(score.mean),
        difference: difference.map(|difference| format.signed(difference)),
    }
}

/// How strongly a tile is coloured, −1 to 1: as a share of the largest gain or loss on this column.
fn intensity(view: &ReportView<'_>, model: &str, column: Column<'_>, gain: f64) -> f64 {
    let Some(dense) = view.dense(model).and_then(|dense| dense.score(column)) else { return 0.0 };
    let compress = |value: f64| {
        // Perplexities may be thousands of times the dense model's.
        if column.metric.higher_is_better() { value } else { value.signum() * (1.0 + value.abs()).ln() }
    };
    let gains = view.pruned(model).filter_map(|variant| Some(variant.score(column)?.mean - dense.mean));
    let gains = gains.filter(|gain| gain.is_finite()).map(|gain| compress(gain).abs());
    let largest = gains.fold(0.0, f64::max);
    let share = compress(gain) / largest;
    if share.is_nan() { 0.0 } else { share.clamp(-1.0, 1.0) }
}
