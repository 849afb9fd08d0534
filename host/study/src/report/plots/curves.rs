//! Scores against sparsity.

use super::{
    Panel, caption, panels,
    scale::Scale,
    svg::{Chart, mark},
};
use crate::report::{
    html::Text,
    metric::{sparsity_share, sparsity_title},
    view::{Column, Variant, View, distinct},
};

/// A variant's point on its curve.
struct Point<'a> {
    share: f64,
    variant: &'a Variant<'a>,
    /// In the metric's display scale.
    mean: f64,
}

/// A curve for every method and calibration set, from the dense model on, where a study has several
/// sparsities.
pub(in super::super) fn curves(view: &View<'_>) -> Option<String> {
    let mut figures = String::new();
    for model in &view.models {
        for column in view.columns() {
            if let Some(content) = chart(view, model, column) {
                figures += &Panel::of(model, column)
                    .draw(&(caption(column) + &Text(view.of_model(model)).to_string()), &content);
            }
        }
    }
    panels(&figures)
}

fn chart(view: &View<'_>, model: &str, column: Column<'_>) -> Option<String> {
    let metric = column.metric;
    let points: Vec<_> = view.pruned(model).filter_map(|variant| point(variant, column)).collect();
    let mut shares = points.iter().map(|point| (point.share, point.variant.sparsity.unwrap_or_default()));
    let mut shares: Vec<_> = distinct(shares.by_ref());
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    shares.dedup_by_key(|(share, _)| *share);
    if shares.len() < 2 {
        return None;
    }
    let dense = view.dense(model).and_then(|dense| Some((dense, metric.scaled(dense.score(column)?.mean))));
    let means = points.iter().map(|point| point.mean).chain(dense.map(|(_, mean)| mean));
    let largest = shares.last().map_or(1.0, |(share, _)| *share);
    let chart = Chart {
        x: Scale::between(-0.03 * largest, 1.03 * largest),
        y: Scale::positive(means),
        height: 220.0,
        x_label: "Sparsity asked for".to_owned(),
        y_label: metric.axis(),
    };
    let mut content = String::new();
    for label in distinct(points.iter().map(|point| point.variant.label)) {
        let mut own: Vec<_> = points.iter().filter(|point| point.variant.label == label).collect();
        own.sort_by(|a, b| a.share.total_cmp(&b.share));
        let variant = own[0].variant;
        let look = view.look(variant.method, variant.set.as_deref());
        let path = dense
            .iter()
            .map(|(_, mean)| (0.0, *mean))
            .chain(own.iter().map(|point| (point.share, point.mean)));
        content += &chart.path(look, &path.collect::<Vec<_>>());
        for point in own {
            if let Some((x, y)) = chart.place(point.share, point.mean) {
                let name =
                    format!("{label} at {}", sparsity_title(point.variant.sparsity.unwrap_or_default()));
                content += &mark(
                    look,
                    x,
                    y,
                    false,
                    &format!("{name}: {}", metric.value(point.mean / metric.scaled(1.0))),
                );
            }
        }
    }
    if let Some((dense, mean)) = dense
        && let Some((x, y)) = chart.place(0.0, mean)
    {
        let look = view.look(None, None);
        content += &mark(
            look,
            x,
            y,
            false,
            &format!("{}: {}", dense.label, metric.value(mean / metric.scaled(1.0))),
        );
    }
    let description =
        format!("{} against sparsity, a curve for each method and calibration set", metric.title);
    Some(chart.draw(&description, &ticks(&chart.x, &shares), &content))
}

fn point<'a>(variant: &'a Variant<'a>, column: Column<'_>) -> Option<Point<'a>> {
    let share = sparsity_share(variant.sparsity?)?;
    let mean = column.metric.scaled(variant.score(column)?.mean);
    mean.is_finite().then_some(Point { share, variant, mean })
}

/// Dense and the study's own sparsities, as far as their labels have room.
fn ticks(scale: &Scale, shares: &[(f64, &str)]) -> Vec<(f64, String)> {
    let mut ticks = vec![(0.0, "0%".to_owned())];
    for (share, _) in shares.iter().rev() {
        let far = |other: &(f64, String)| match (scale.percent(other.0), scale.percent(*share)) {
            (Some(a), Some(b)) => (a - b).abs() > 15.0,
            _ => false,
        };
        if ticks.iter().all(far) {
            ticks.push((*share, sparsity_title(&share.to_string())));
        }
    }
    ticks
}
