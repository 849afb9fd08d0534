//! Scores against sparsity.

use super::{
    Element, Figure,
    chart::{Axes, Chart},
    scale::Scale,
};
use crate::report::{
    metric::{percent, sparsity_title},
    view::{Column, ReportVariant, ReportView, TextSpan, distinct},
};
use espalier_sdk::Sparsity;

/// A variant's point on its curve.
struct Point<'a> {
    sparsity: Sparsity,
    variant: &'a ReportVariant<'a>,
    /// In the metric's display scale.
    mean: f64,
}

/// A curve for every method and calibration set, from the dense model on, where a study has several
/// sparsities.
pub(in super::super) fn curves<'a>(view: &ReportView<'a>) -> Vec<Figure<'a>> {
    let mut figures = Vec::new();
    for &model in &view.models {
        for column in view.columns() {
            if let Some(chart) = chart(view, model, column) {
                let mut figure = Figure { charts: vec![chart], ..Figure::of(model, column) };
                figure.caption.push(TextSpan::plain(view.of_model(model)));
                figures.push(figure);
            }
        }
    }
    figures
}

fn chart(view: &ReportView<'_>, model: &str, column: Column<'_>) -> Option<Chart> {
    let format = column.format;
    let points: Vec<_> = view.pruned(model).filter_map(|variant| point(variant, column)).collect();
    let mut ratios = distinct(points.iter().map(Point::ratio));
    ratios.sort_by(f64::total_cmp);
    if ratios.len() < 2 {
        return None;
    }
    let dense = view.dense(model).and_then(|dense| Some((dense, format.scaled(dense.score(column)?.mean))));
    let means = points.iter().map(|point| point.mean).chain(dense.map(|(_, mean)| mean));
    let largest = ratios.last().copied().unwrap_or(1.0);
    let axes = Axes {
        x: Scale::between(-0.03 * largest, 1.03 * largest),
        y: Scale::positive(means),
        height: 220,
        x_label: "Sparsity asked for".to_owned(),
        y_label: format.axis(),
    };
    // What is shown is the value before its scaling to the axis.
    let shown = |mean: f64| format.value(mean / format.scaled(1.0));
    let mut shapes = Vec::new();
    for label in distinct(points.iter().map(|point| point.variant.label)) {
        let mut own: Vec<_> = points.iter().filter(|point| point.variant.label == label).collect();
        own.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let look = view.look_of(own[0].variant);
        let start = dense.map(|(_, mean)| (0.0, mean));
        let path: Vec<_> =
            start.into_iter().chain(own.iter().map(|point| (point.ratio(), point.mean))).collect();
        shapes.push(axes.path(look, &path));
        for point in own {
            if let Some(at) = axes.place(point.ratio(), point.mean) {
                let title = format!("{label} at {}: {}", sparsity_title(point.sparsity), shown(point.mean));
                shapes.push(Element::Mark { look, at, small: false, title });
            }
        }
    }
    if let Some((dense, mean)) = dense
        && let Some(at) = axes.place(0.0, mean)
    {
        let title = format!("{}: {}", dense.label, shown(mean));
        shapes.push(Element::Mark { look: view.look(None, None), at, small: false, title });
    }
    let description =
        format!("{} against sparsity, a curve for each method and calibration set", format.title);
    let ticks = ticks(&axes.x, &ratios);
    Some(axes.chart(description, &ticks, shapes))
}

impl Point<'_> {
    /// The share of weights that goes.
    fn ratio(&self) -> f64 {
        self.sparsity.ratio()
    }
}

fn point<'a>(variant: &'a ReportVariant<'a>, column: Column<'_>) -> Option<Point<'a>> {
    let mean = column.format.scaled(variant.score(column)?.mean);
    mean.is_finite().then_some(Point { sparsity: variant.sparsity?, variant, mean })
}

/// Dense and the study's own sparsities, as far as their labels have room.
fn ticks(scale: &Scale, ratios: &[f64]) -> Vec<(f64, String)> {
    let mut ticks = vec![(0.0, "0%".to_owned())];
    for ratio in ratios.iter().rev() {
        let far = |other: &(f64, String)| match (scale.percent(other.0), scale.percent(*ratio)) {
            (Some(a), Some(b)) => (a - b).abs() > 15.0,
            _ => false,
        };
        if ticks.iter().all(far) {
            ticks.push((*ratio, percent(*ratio)));
        }
    }
    ticks
}
