//! The plots, as data: where marks and lines stand. Across, everything is in percent, so that text and marks
//! keep their size at any width; down, in pixels. The templates draw them.

mod chart;
mod curves;
mod dots;
mod forest;
mod heat_map;
mod layers;
mod properties;
mod retention;
mod scale;
mod scatter;
mod sensitivity;
mod strips;

pub(super) use self::{
    curves::curves,
    dots::dots,
    forest::{forest, gains},
    heat_map::{HeatMap, heat_maps},
    layers::layers,
    properties::properties,
    retention::{RetentionMap, retention},
    scatter::scatter,
    sensitivity::sensitivity,
};

use self::{chart::Chart, strips::StripPlot};
use super::{
    data::CellState,
    metric::sparsity_title,
    view::{Column, Look, ReportView, TextSpan},
};
use espalier_evaluate::Metric;
use espalier_sdk::Sparsity;
use serde::Serialize;

/// A figure, with what the page's filter knows it by.
#[derive(Serialize)]
pub(super) struct Figure<'a> {
    model: &'a str,
    evaluation: Option<&'a str>,
    metric: Option<Metric>,
    sparsity: Option<Sparsity>,
    caption: Vec<TextSpan>,
    strips: Option<StripPlot>,
    charts: Vec<Chart>,
}

/// The figures of one model and sparsity.
#[derive(Serialize)]
pub(super) struct FigureGroup<'a> {
    model: &'a str,
    sparsity: Sparsity,
    title: String,
    figures: Vec<Figure<'a>>,
}

/// One element of a drawing.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Element {
    /// A straight line.
    Line { class: String, from: (f64, f64), to: (f64, f64) },
    /// A mark of a variant, with what a pointer that rests on it is told.
    Mark { look: Look, at: (f64, f64), small: bool, title: String },
    /// Line segments from place to place.
    Path { look: Look, places: Vec<(f64, f64)> },
    /// The hatching of a variant that failed or has not run.
    Hatching { state: CellState, height: f64 },
}

/// A labelled place on an axis.
#[derive(Serialize)]
struct Tick {
    at: f64,
    label: String,
}

impl<'a> Figure<'a> {
    /// The figure of one column of the table, without its content.
    fn of(model: &'a str, column: Column<'a>) -> Self {
        let caption = vec![
            TextSpan::plain(format!("{} on ", column.format.title)),
            TextSpan::strong(column.evaluation),
        ];
        Self {
            model,
            evaluation: Some(column.evaluation),
            metric: Some(column.metric),
            sparsity: None,
            caption,
            strips: None,
            charts: Vec::new(),
        }
    }
}

/// A group of figures for every model and sparsity, so that no axis has to span the damage of them all; a
/// figure for every column of the table that has something to show.
fn by_sparsity<'a>(
    view: &ReportView<'a>,
    strips: impl Fn(&'a str, Sparsity, Column<'a>) -> Option<StripPlot>,
) -> Vec<FigureGroup<'a>> {
    let mut groups = Vec::new();
    for &model in &view.models {
        for &sparsity in &view.sparsities {
            let figures = view.columns().into_iter().filter_map(|column| {
                let strips = Some(strips(model, sparsity, column)?);
                Some(Figure { sparsity: Some(sparsity), strips, ..Figure::of(model, column) })
            });
            let figures: Vec<_> = figures.collect();
            if !figures.is_empty() {
                let title = format!("{} of weights pruned{}", sparsity_title(sparsity), view.of_model(model));
                groups.push(FigureGroup { model, sparsity, title, figures });
            }
        }
    }
    groups
}
