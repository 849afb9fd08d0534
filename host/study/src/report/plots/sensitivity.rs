//! How far apart a method's calibration sets are.

use super::{
    by_sparsity,
    rows::{MIDDLE, Row, rows},
    scale::Scale,
    svg::{line, mark},
};
use crate::report::view::{Column, View};

/// The means of a method's calibration sets, with their range, for each evaluation and metric.
pub(in super::super) fn sensitivity(view: &View<'_>) -> Option<String> {
    by_sparsity(view, |model, sparsity, column| {
        let groups = groups(view, model, sparsity, column);
        let values = groups.iter().flat_map(|group| group.means.iter().map(|(_, mean)| *mean));
        let scale = Scale::positive(values.map(|value| column.metric.scaled(value)));
        let drawn: Vec<_> = groups.iter().map(|group| group.row(view, column, &scale)).collect();
        let axis = format!("{}; {}", column.metric.axis(), column.metric.direction());
        (!drawn.is_empty()).then(|| rows(&scale, None, &axis, &drawn))
    })
}

/// A method with its calibration sets.
struct Group<'a> {
    method: &'a str,
    /// Sets and their means over seeds.
    means: Vec<(&'a str, f64)>,
}

/// The methods that have at least two sets to compare.
fn groups<'v>(view: &'v View<'_>, model: &'v str, sparsity: &str, column: Column<'_>) -> Vec<Group<'v>> {
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
    fn row(&self, view: &View<'_>, column: Column<'_>, scale: &Scale) -> Row {
        let metric = column.metric;
        let means = self.means.iter().map(|(_, mean)| *mean);
        let (low, high) =
            (means.clone().fold(f64::INFINITY, f64::min), means.fold(f64::NEG_INFINITY, f64::max));
        let mut strip = String::new();
        if let (Some(x1), Some(x2)) = (scale.percent(metric.scaled(low)), scale.percent(metric.scaled(high)))
        {
            let class = format!("interval {}", view.look(Some(self.method), None).class());
            strip += &line(&class, (x1, MIDDLE), (x2, MIDDLE));
        }
        let mut words = Vec::new();
        for (set, mean) in &self.means {
            let title = format!("{set}: {}", metric.value(*mean));
            if let Some(x) = scale.percent(metric.scaled(*mean)) {
                strip += &mark(view.look(Some(self.method), Some(set)), x, MIDDLE, false, &title);
            }
            words.push(title);
        }
        let range = format!("{}{}", metric.value(high - low), metric.difference_unit());
        Row {
            look: view.look(Some(self.method), None),
            name: self.method.to_owned(),
            strip,
            description: format!("{}; range {range}", words.join(", ")),
            value: format!("range <span class=\"number\">{range}</span>"),
        }
    }
}
