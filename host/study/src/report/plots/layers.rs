//! Layers: error and sparsity by block.

use super::{
    Element, Figure,
    chart::{Axes, Chart},
    scale::Scale,
};
use crate::report::{
    data::{CellState, LayerResult},
    metric::{number, sparsity_title},
    view::{Look, ReportVariant, ReportView, TextSpan, distinct},
};
use espalier_model::layout::Projection;

/// A variant's values by block, averaged over its seeds.
struct Series<'a> {
    label: &'a str,
    look: Look,
    points: Vec<(f64, f64)>,
}

/// Two plots for every projection: the method's own error, and the sparsity reached.
pub(in super::super) fn layers<'a>(view: &ReportView<'a>) -> Vec<Figure<'a>> {
    let mut figures = Vec::new();
    for &model in &view.models {
        for &sparsity in &view.sparsities {
            let variants: Vec<_> =
                view.pruned(model).filter(|variant| variant.sparsity == Some(sparsity)).collect();
            let cells = variants.iter().flat_map(|variant| &variant.cells);
            let layers = cells.flat_map(|cell| &cell.layers);
            for projection in distinct(layers.map(|layer| layer.projection)) {
                let place = format!(" at {}{}", sparsity_title(sparsity), view.of_model(model));
                figures.push(Figure {
                    model,
                    evaluation: None,
                    metric: None,
                    sparsity: Some(sparsity),
                    caption: vec![TextSpan::strong(projection.name()), TextSpan::plain(place)],
                    strips: None,
                    charts: charts(view, &variants, projection),
                });
            }
        }
    }
    figures
}

fn charts(view: &ReportView<'_>, variants: &[&ReportVariant<'_>], projection: Projection) -> Vec<Chart> {
    let name = projection.name();
    let series = |value: &dyn Fn(&LayerResult) -> Option<f64>| -> Vec<Series<'_>> {
        let all = variants.iter().map(|variant| Series {
            label: variant.label,
            look: view.look_of(variant),
            points: by_block(variant, projection, value),
        });
        all.filter(|series| !series.points.is_empty()).collect()
    };
    let errors = series(&|layer| layer.error.filter(|error| error.is_finite()));
    let sparsities = series(&|layer| Some(layer.sparsity * 100.0));
    let blocks = sparsities.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let last = blocks.fold(0.0, f64::max);
    let x = Scale::between(-0.03 * last.max(1.0), 1.03 * last.max(1.0));
    let mut charts = Vec::new();
    if !errors.is_empty() {
        let y = Scale::positive(errors.iter().flat_map(|series| series.points.iter().map(|point| point.1)));
        let axes = Axes { x, y, height: 150, x_label: String::new(), y_label: "Error".to_owned() };
        charts.push(draw(axes, last, &errors, format!("Error of {name} by block")));
    }
    let reached = sparsities.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let (low, high) = reached.fold((100.0, 0.0), |(low, high), value| (value.min(low), value.max(high)));
    // Room of a point at least, so that the rounding of a row does not look like a difference.
    let y = Scale::covering([low - 0.5, high + 0.5]);
    let y_label = "Sparsity reached (%)".to_owned();
    let axes = Axes { x, y, height: 80, x_label: "Block".to_owned(), y_label };
    charts.push(draw(axes, last, &sparsities, format!("Sparsity of {name} by block")));
    charts
}

fn draw(axes: Axes, last: f64, series: &[Series<'_>], description: String) -> Chart {
    let mut shapes = Vec::new();
    for series in series {
        shapes.push(axes.path(series.look, &series.points));
        // A mark for every block of a deep model would hide the lines.
        let every = (series.points.len() / 8).max(1);
        for &(block, value) in series.points.iter().step_by(every) {
            if let Some(at) = axes.place(block, value) {
                let value = if value.abs() < 0.01 { format!("{value:.2e}") } else { number(value, 2) };
                let title = format!("{}, block {block}: {value}", series.label);
                shapes.push(Element::Mark { look: series.look, at, small: true, title });
            }
        }
    }
    let step = (last / 4.0).ceil().max(1.0);
    let ticks = (0..=4).map(|index| f64::from(index) * step).filter(|block| *block <= last);
    let ticks: Vec<_> = ticks.map(|block| (block, number(block, 0))).collect();
    axes.chart(description, &ticks, shapes)
}

/// The mean over seeds of a value, block by block.
fn by_block(
    variant: &ReportVariant<'_>,
    projection: Projection,
    value: &dyn Fn(&LayerResult) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let done = variant.cells.iter().filter(|cell| cell.state == CellState::Done);
    let layers = done.flat_map(|cell| &cell.layers).filter(|layer| layer.projection == projection);
    let mut blocks = std::collections::BTreeMap::<usize, (f64, f64)>::new();
    for layer in layers {
        if let Some(value) = value(layer) {
            let (total, count) = blocks.entry(layer.block).or_default();
            *total += value;
            *count += 1.0;
        }
    }
    blocks.into_iter().map(|(block, (total, count))| (block as f64, total / count)).collect()
}
