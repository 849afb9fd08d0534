//! A dot for every seed behind each mean.

use super::{
    Element, FigureGroup, by_sparsity,
    scale::Scale,
    strips::{MIDDLE, StripRow, hatching, states, strips},
};
use crate::report::view::{Column, ReportVariant, ReportView};

/// The scores of every seed, on an axis for each evaluation and metric.
pub(in super::super) fn dots<'a>(view: &ReportView<'a>) -> Vec<FigureGroup<'a>> {
    by_sparsity(view, |model, sparsity, column| {
        let dense = view.dense(model);
        let pruned = view.pruned(model).filter(|variant| variant.sparsity == Some(sparsity));
        let variants: Vec<_> = dense.into_iter().chain(pruned).collect();
        let scores = variants.iter().filter_map(|variant| variant.score(column));
        let values: Vec<_> = scores.flat_map(|score| score.seeds).map(|(_, value)| value).collect();
        let scale = Scale::positive(values.iter().map(|&value| column.format.scaled(value)));
        let reference = dense.and_then(|dense| Some(column.format.scaled(dense.score(column)?.mean)));
        let rows: Vec<_> = variants.iter().map(|variant| row(view, variant, column, &scale)).collect();
        let axis = format!("{}; {}", column.format.axis(), column.format.direction());
        (!values.is_empty()).then(|| strips(&scale, reference, axis, rows))
    })
}

fn row(view: &ReportView<'_>, variant: &ReportVariant<'_>, column: Column<'_>, scale: &Scale) -> StripRow {
    let format = column.format;
    let look = view.look_of(variant);
    let mut shapes = Vec::new();
    let mut numbers = Vec::new();
    let mut description = "no seed has a score".to_owned();
    if let Some(score) = variant.score(column) {
        if let Some(x) = scale.percent(format.scaled(score.mean)) {
            let class = format!("mean {}", look.class);
            shapes.push(Element::Line { class, from: (x, 1.0), to: (x, 2.0 * MIDDLE - 1.0) });
        }
        let mut words = Vec::new();
        for (seed, value) in &score.seeds {
            let value_text = format.value(*value);
            let title = seed.map_or_else(|| value_text.clone(), |seed| format!("seed {seed}: {value_text}"));
            if let Some(x) = scale.percent(format.scaled(*value)) {
                shapes.push(Element::Mark { look, at: (x, MIDDLE), small: false, title: title.clone() });
            }
            words.push(title);
        }
        description = format!("mean {}; {}", format.value(score.mean), words.join(", "));
        numbers.push(format.value(score.mean));
        numbers.extend(score.spread.map(|spread| format!("± {}", format.value(spread))));
    } else {
        shapes.push(hatching(variant));
    }
    let name = variant.label.to_owned();
    StripRow { look, name, shapes, description, lead: "", numbers, outcome: None, states: states(variant) }
}
