//! How far apart a method's calibration sets are.

use super::{
    Element, FigureGroup, by_sparsity,
    scale::Scale,
    strips::{MIDDLE, StripRow, strips},
};
use crate::report::view::{Column, ReportView};
use espalier_sdk::Sparsity;

/// The means of a method's calibration sets, with their range, for each evaluation and metric.
pub(in super::super) fn sensitivity<'a>(view: &ReportView<'a>) -> Vec<FigureGroup<'a>> {
    by_sparsity(view, |model, sparsity, column| {
        let groups = groups(view, model, sparsity, column);
        let values = groups.iter().flat_map(|group| group.means.iter().map(|(_, mean)| *mean));
        let scale = Scale::positive(values.map(|value| column.format.scaled(value)));
        let drawn: Vec<_> = groups.iter().map(|group| group.row(view, column, &scale)).collect();
        let axis = format!("{}; {}", column.format.axis(), column.format.direction());
        (!drawn.is_empty()).then(|| strips(&scale, None, axis, drawn))
    })
}

/// A method with its calibration sets.
struct Group<'a> {
    method: &'a str,
    /// Sets and their means over seeds.
    means: Vec<(&'a str, f64)>,
}

/// The methods that have at least two sets to compare.
fn groups<'v>(
    view: &'v ReportView<'_>,
    model: &'v str,
    sparsity: Sparsity,
    column: Column<'_>,
) -> Vec<Group<'v>> {
    let here = view.pruned(model).filter(|variant| variant.sparsity == Some(sparsity));
    let here: Vec<_> = here.collect();
    let groups = view.methods.iter().map(|method| {
        let own = here.iter().filter(|variant| variant.method == Some(*method));
        let means = own.filter_map(|variant| Some((variant.set.as_deref()?, variant.score(column)?.mean)));
        Group { method, means: means.filter(|(_, mean)| mean.is_finite()).collect() }
    });
    groups.filter(|group| group.means.len() > 1).collect()
}

impl Group<'_> {
    fn row(&self, view: &ReportView<'_>, column: Column<'_>, scale: &Scale) -> StripRow {
        let format = column.format;
        let means = self.means.iter().map(|(_, mean)| *mean);
        let (low, high) =
            (means.clone().fold(f64::INFINITY, f64::min), means.fold(f64::NEG_INFINITY, f64::max));
        let look = view.look(Some(self.method), None);
        let mut shapes = Vec::new();
        let place = |mean| scale.percent(format.scaled(mean));
        if let (Some(from), Some(to)) = (place(low), place(high)) {
            let class = format!("interval {}", look.class);
            shapes.push(Element::Line { class, from: (from, MIDDLE), to: (to, MIDDLE) });
        }
        let mut words = Vec::new();
        for (set, mean) in &self.means {
            let title = format!("{set}: {}", format.value(*mean));
            if let Some(x) = place(*mean) {
                let look = view.look(Some(self.method), Some(set));
                shapes.push(Element::Mark { look, at: (x, MIDDLE), small: false, title: title.clone() });
            }
            words.push(title);
        }
        let range = format!("{}{}", format.value(high - low), format.difference_unit());
        StripRow {
            look,
            name: self.method.to_owned(),
            shapes,
            description: format!("{}; range {range}", words.join(", ")),
            lead: "range",
            numbers: vec![range],
            outcome: None,
            states: Vec::new(),
        }
    }
}
