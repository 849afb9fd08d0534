//! Perplexity against task scores: whether the one tells of the other.

use super::{
    Panel, panels,
    scale::Scale,
    svg::{Chart, mark},
};
use crate::report::{
    data::CellState,
    html::Text,
    metric::{Kind, sparsity_title},
    view::{Column, View},
};

/// Every cell's task score against its perplexity, for each pair of the two.
pub(in super::super) fn scatter(view: &View<'_>) -> Option<String> {
    let columns = view.columns();
    let perplexities = columns.iter().filter(|column| column.name.ends_with("perplexity"));
    let mut figures = String::new();
    for model in &view.models {
        for perplexity in perplexities.clone() {
            for task in columns.iter().filter(|column| column.metric.kind == Kind::Answers) {
                if let Some(content) = chart(view, model, *perplexity, *task) {
                    let caption = format!(
                        "{} on <b>{}</b> against {} on <b>{}</b>{}",
                        Text(task.metric.title),
                        Text(task.evaluation),
                        Text(perplexity.metric.title.to_lowercase()),
                        Text(perplexity.evaluation),
                        Text(view.of_model(model))
                    );
                    figures += &Panel::of(model, *task).draw(&caption, &content);
                }
            }
        }
    }
    panels(&figures)
}

fn chart(view: &View<'_>, model: &str, perplexity: Column<'_>, task: Column<'_>) -> Option<String> {
    let mut points = Vec::new();
    // The dense model is drawn last, on top.
    for variant in view.variants.iter().filter(|variant| variant.model == model).rev() {
        for cell in variant.cells.iter().filter(|cell| cell.state == CellState::Done) {
            let score = |column: Column<'_>| {
                let mean = cell.scores.get(column.evaluation)?.get(column.name)?.mean;
                mean.is_finite().then(|| column.metric.scaled(mean))
            };
            if let (Some(x), Some(y)) = (score(perplexity), score(task)) {
                points.push((variant, cell.seed, x, y));
            }
        }
    }
    if points.len() < 2 {
        return None;
    }
    let chart = Chart {
        x: Scale::positive(points.iter().map(|point| point.2)),
        y: Scale::covering(points.iter().map(|point| point.3)),
        height: 240.0,
        x_label: format!("{} on {}; left is better", perplexity.metric.axis(), perplexity.evaluation),
        y_label: task.metric.axis(),
    };
    let mut content = String::new();
    for (variant, seed, x, y) in &points {
        let Some(place) = chart.place(*x, *y) else { continue };
        let mut title = variant.label.to_owned();
        if let Some(sparsity) = variant.sparsity {
            title += &format!(" at {}", sparsity_title(sparsity));
        }
        if let Some(seed) = seed {
            title += &format!(", seed {seed}");
        }
        let (x, y) = (x / perplexity.metric.scaled(1.0), y / task.metric.scaled(1.0));
        title += &format!(": {} at {}", task.metric.value(y), perplexity.metric.value(x));
        content += &mark(view.look(variant.method, variant.set.as_deref()), place.0, place.1, false, &title);
    }
    let description =
        format!("{} against {}, {} cells", task.metric.title, perplexity.metric.title, points.len());
    Some(chart.draw(&description, &chart.x.ticks(5), &content))
}
