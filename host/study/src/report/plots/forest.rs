//! Differences with their intervals.

use super::{
    by_sparsity,
    rows::{MIDDLE, Row, hatching, rows, states},
    scale::Scale,
    svg::{line, mark},
};
use crate::report::{
    data::Gain,
    html::put,
    metric::Metric,
    view::{Column, Look, Variant, View},
};

/// A row of a forest plot.
struct Interval {
    look: Look,
    name: String,
    difference: f64,
    low: f64,
    high: f64,
    seeds: usize,
}

/// A row with an interval, or one that says why there is none.
enum Entry {
    Known(Interval),
    Unknown(Row),
}

/// Every pruned variant minus dense.
pub(in super::super) fn forest(view: &View<'_>) -> Option<String> {
    by_sparsity(view, |model, sparsity, column| {
        let variants = view.pruned(model).filter(|variant| variant.sparsity == Some(sparsity));
        let entries = variants.map(|variant| {
            let look = view.look(variant.method, variant.set.as_deref());
            let interval = view.difference(variant, column).map(|one| Interval {
                look,
                name: one.label.clone(),
                difference: one.difference,
                low: one.low,
                high: one.high,
                seeds: one.seeds,
            });
            interval.map_or_else(|| Entry::Unknown(unknown(view, variant)), Entry::Known)
        });
        figure("Difference from dense", column, entries.collect())
    })
}

/// Task calibration minus plain-text calibration, for every method.
pub(in super::super) fn gains(view: &View<'_>) -> Option<String> {
    let row = |gain: &Gain| Interval {
        look: view.look(Some(&gain.method), Some(&gain.task)),
        name: format!("{}: {} − {}", gain.method, gain.task, gain.plain),
        difference: gain.difference,
        low: gain.low,
        high: gain.high,
        seeds: gain.seeds,
    };
    by_sparsity(view, |model, sparsity, column| {
        let here = view.report.gains.iter().filter(|one| {
            one.model == model
                && one.sparsity == sparsity
                && one.evaluation == column.evaluation
                && one.metric == column.name
        });
        figure("Task calibration minus plain text", column, here.map(row).map(Entry::Known).collect())
    })
}

/// The figure of intervals, and of rows where there is none; nothing where there is none at all.
fn figure(axis: &str, column: Column<'_>, entries: Vec<Entry>) -> Option<String> {
    let metric = column.metric;
    let ends = entries.iter().flat_map(|entry| match entry {
        Entry::Known(interval) => vec![interval.low, interval.high, interval.difference],
        Entry::Unknown(_) => Vec::new(),
    });
    let ends: Vec<_> = ends.collect();
    if ends.is_empty() {
        return None;
    }
    let scale = Scale::covering(ends.into_iter().chain([0.0]).map(|value| metric.scaled(value)));
    let axis = match metric.difference_unit().trim_start() {
        "" => format!("{axis}; {}", metric.direction()),
        unit => format!("{axis} ({unit}); {}", metric.direction()),
    };
    let drawn = entries.into_iter().map(|entry| match entry {
        Entry::Known(interval) => interval.row(&metric, &scale),
        Entry::Unknown(row) => row,
    });
    Some(rows(&scale, Some(0.0), &axis, &drawn.collect::<Vec<_>>()))
}

/// The row of a variant that has no difference to show.
fn unknown(view: &View<'_>, variant: &Variant<'_>) -> Row {
    Row {
        look: view.look(variant.method, variant.set.as_deref()),
        name: variant.label.to_owned(),
        strip: hatching(variant),
        description: "no difference is known".to_owned(),
        value: states(variant),
    }
}

impl Interval {
    fn row(self, metric: &Metric<'_>, scale: &Scale) -> Row {
        let words = metric.interval(self.difference, self.low, self.high);
        let outcome = metric.outcome(self.low, self.high);
        let description = format!(
            "{}, {} {}: {words}, {}",
            self.name,
            self.seeds,
            if self.seeds == 1 { "seed" } else { "seeds" },
            outcome.words()
        );
        let place = |value| scale.percent(metric.scaled(value));
        let mut strip = String::new();
        if let (Some(low), Some(high)) = (place(self.low), place(self.high)) {
            let class = format!("interval {}", self.look.class());
            strip += &line(&class, (low, MIDDLE), (high, MIDDLE));
            strip += &line(&class, (low, MIDDLE - 4.0), (low, MIDDLE + 4.0));
            strip += &line(&class, (high, MIDDLE - 4.0), (high, MIDDLE + 4.0));
        }
        if let Some(x) = place(self.difference) {
            strip += &mark(self.look, x, MIDDLE, false, &description);
        }
        let mut value = format!("<span class=\"number\">{words}</span>");
        put!(value, " <em class=\"{}\">{}</em>", outcome.class(), outcome.words());
        Row { look: self.look, name: self.name, strip, description, value }
    }
}
