//! A dot for every seed behind each mean.

use super::{
    by_sparsity,
    rows::{MIDDLE, Row, hatching, rows, states},
    scale::Scale,
    svg::{line, mark},
};
use crate::report::{
    html::put,
    view::{Column, Variant, View},
};

/// The scores of every seed, on an axis for each evaluation and metric.
pub(in super::super) fn dots(view: &View<'_>) -> Option<String> {
    by_sparsity(view, |model, sparsity, column| {
        let dense = view.dense(model);
        let pruned = view.pruned(model).filter(|variant| variant.sparsity == Some(sparsity));
        let variants: Vec<_> = dense.into_iter().chain(pruned).collect();
        let scores = variants.iter().filter_map(|variant| variant.score(column));
        let values: Vec<_> = scores.flat_map(|score| score.seeds).map(|(_, value)| value).collect();
        let scale = Scale::positive(values.iter().map(|&value| column.metric.scaled(value)));
        let reference = dense.and_then(|dense| Some(column.metric.scaled(dense.score(column)?.mean)));
        let drawn: Vec<_> = variants.iter().map(|variant| row(view, variant, column, &scale)).collect();
        let axis = format!("{}; {}", column.metric.axis(), column.metric.direction());
        (!values.is_empty()).then(|| rows(&scale, reference, &axis, &drawn))
    })
}

fn row(view: &View<'_>, variant: &Variant<'_>, column: Column<'_>, scale: &Scale) -> Row {
    let metric = column.metric;
    let look = view.look(variant.method, variant.set.as_deref());
    let mut strip = String::new();
    let mut value = String::new();
    let mut description = "no seed has a score".to_owned();
    if let Some(score) = variant.score(column) {
        if let Some(x) = scale.percent(metric.scaled(score.mean)) {
            strip += &line(&format!("mean {}", look.class()), (x, 1.0), (x, 2.0 * MIDDLE - 1.0));
        }
        let mut words = Vec::new();
        for (seed, value) in &score.seeds {
            let title = seed.map_or_else(
                || metric.value(*value),
                |seed| format!("seed {seed}: {}", metric.value(*value)),
            );
            if let Some(x) = scale.percent(metric.scaled(*value)) {
                strip += &mark(look, x, MIDDLE, false, &title);
            }
            words.push(title);
        }
        description = format!("mean {}; {}", metric.value(score.mean), words.join(", "));
        put!(value, "<span class=\"number\">{}</span>", metric.value(score.mean));
        if let Some(spread) = score.spread {
            put!(value, " <span class=\"number\">± {}</span>", metric.value(spread));
        }
    } else {
        strip = hatching(variant);
    }
    value += &states(variant);
    Row { look, name: variant.label.to_owned(), strip, description, value }
}
