//! Perplexity against task scores: whether the one tells of the other.

use super::{
    Element, Figure,
    chart::{Axes, Chart},
    scale::Scale,
};
use crate::report::{
    data::CellState,
    metric::sparsity_title,
    view::{Column, ReportView, TextSpan},
};

/// Every cell's task score against its perplexity, for each pair of the two.
pub(in super::super) fn scatter<'a>(view: &ReportView<'a>) -> Vec<Figure<'a>> {
    let columns = view.columns();
    let perplexities = columns.iter().filter(|column| column.metric.is_perplexity());
    let mut figures = Vec::new();
    for &model in &view.models {
        for perplexity in perplexities.clone() {
            for task in columns.iter().filter(|column| column.metric.higher_is_better()) {
                if let Some(chart) = chart(view, model, *perplexity, *task) {
                    let against = format!(" against {} on ", perplexity.format.title.to_lowercase());
                    let mut figure = Figure { charts: vec![chart], ..Figure::of(model, *task) };
                    figure.caption.push(TextSpan::plain(against));
                    figure.caption.push(TextSpan::strong(perplexity.evaluation));
                    figure.caption.push(TextSpan::plain(view.of_model(model)));
                    figures.push(figure);
                }
            }
        }
    }
    figures
}

fn chart(view: &ReportView<'_>, model: &str, perplexity: Column<'_>, task: Column<'_>) -> Option<Chart> {
    let mut points = Vec::new();
    // The dense model is drawn last, on top.
    for variant in view.variants.iter().filter(|variant| variant.model == model).rev() {
        for cell in variant.cells.iter().filter(|cell| cell.state == CellState::Done) {
            let score = |column: Column<'_>| {
                let mean = cell.scores.get(column.evaluation)?.get(&column.metric)?.mean;
                mean.is_finite().then(|| column.format.scaled(mean))
            };
            if let (Some(x), Some(y)) = (score(perplexity), score(task)) {
                points.push((variant, cell.seed, x, y));
            }
        }
    }
    if points.len() < 2 {
        return None;
    }
    let axes = Axes {
        x: Scale::positive(points.iter().map(|point| point.2)),
        y: Scale::covering(points.iter().map(|point| point.3)),
        height: 240,
        x_label: format!("{} on {}; left is better", perplexity.format.axis(), perplexity.evaluation),
        y_label: task.format.axis(),
    };
    let mut shapes = Vec::new();
    for (variant, seed, x, y) in &points {
        let Some(at) = axes.place(*x, *y) else { continue };
        let mut title = variant.label.to_owned();
        if let Some(sparsity) = variant.sparsity {
            title += &format!(" at {}", sparsity_title(sparsity));
        }
        if let Some(seed) = seed {
            title += &format!(", seed {seed}");
        }
        let (x, y) = (x / perplexity.format.scaled(1.0), y / task.format.scaled(1.0));
        title += &format!(": {} at {}", task.format.value(y), perplexity.format.value(x));
        shapes.push(Element::Mark { look: view.look_of(variant), at, small: false, title });
    }
    let description =
        format!("{} against {}, {} cells", task.format.title, perplexity.format.title, points.len());
    let ticks = axes.x.ticks(5);
    Some(axes.chart(description, &ticks, shapes))
}
