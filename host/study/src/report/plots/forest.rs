//! Differences with their intervals.

use super::{
    Element, FigureGroup, by_sparsity,
    scale::Scale,
    strips::{MIDDLE, StripPlot, StripRow, hatching, states, strips},
};
use crate::report::{
    data::Gain,
    metric::MetricFormat,
    view::{Column, Look, ReportVariant, ReportView},
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

/// A row with an interval, or one that explains why the interval is missing.
enum ForestRow {
    Known(Interval),
    Unknown(StripRow),
}

/// Every pruned variant minus dense.
pub(in super::super) fn forest<'a>(view: &ReportView<'a>) -> Vec<FigureGroup<'a>> {
    by_sparsity(view, |model, sparsity, column| {
        let variants = view.pruned(model).filter(|variant| variant.sparsity == Some(sparsity));
        let entries = variants.map(|variant| {
            let interval = view.difference(variant, column).map(|one| Interval {
                look: view.look_of(variant),
                name: one.label.clone(),
                difference: one.difference,
                low: one.low,
                high: one.high,
                seeds: one.seeds,
            });
            interval.map_or_else(|| ForestRow::Unknown(unknown(view, variant)), ForestRow::Known)
        });
        plot("Difference from dense", column, entries.collect())
    })
}

/// Task calibration minus plain-text calibration, for every method.
pub(in super::super) fn gains<'a>(view: &ReportView<'a>) -> Vec<FigureGroup<'a>> {
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
                && one.metric == column.metric
        });
        plot("Task calibration minus plain text", column, here.map(row).map(ForestRow::Known).collect())
    })
}

/// The plot of all rows; nothing if no row has an interval.
fn plot(axis: &str, column: Column<'_>, entries: Vec<ForestRow>) -> Option<StripPlot> {
    let format = column.format;
    let ends = entries.iter().flat_map(|entry| match entry {
        ForestRow::Known(interval) => vec![interval.low, interval.high, interval.difference],
        ForestRow::Unknown(_) => Vec::new(),
    });
    let ends: Vec<_> = ends.collect();
    if ends.is_empty() {
        return None;
    }
    let scale = Scale::covering(ends.into_iter().chain([0.0]).map(|value| format.scaled(value)));
    let axis = match format.difference_unit().trim_start() {
        "" => format!("{axis}; {}", format.direction()),
        unit => format!("{axis} ({unit}); {}", format.direction()),
    };
    let rows = entries.into_iter().map(|entry| match entry {
        ForestRow::Known(interval) => interval.row(&format, &scale),
        ForestRow::Unknown(row) => row,
    });
    Some(strips(&scale, Some(0.0), axis, rows.collect()))
}

/// The row of a variant that has no difference to show.
fn unknown(view: &ReportView<'_>, variant: &ReportVariant<'_>) -> StripRow {
    StripRow {
        look: view.look_of(variant),
        name: variant.label.to_owned(),
        shapes: vec![hatching(variant)],
        description: "no difference is known".to_owned(),
        lead: "",
        numbers: Vec::new(),
        outcome: None,
        states: states(variant),
    }
}

impl Interval {
    fn row(self, format: &MetricFormat, scale: &Scale) -> StripRow {
        let words = format.interval(self.difference, self.low, self.high);
        let outcome = format.outcome(self.low, self.high);
        let description = format!(
            "{}, {} {}: {words}, {}",
            self.name,
            self.seeds,
            if self.seeds == 1 { "seed" } else { "seeds" },
            outcome.words()
        );
        let place = |value| scale.percent(format.scaled(value));
        let mut shapes = Vec::new();
        if let (Some(low), Some(high)) = (place(self.low), place(self.high)) {
            let line = |from, to| Element::Line { class: format!("interval {}", self.look.class), from, to };
            shapes.push(line((low, MIDDLE), (high, MIDDLE)));
            shapes.push(line((low, MIDDLE - 4.0), (low, MIDDLE + 4.0)));
            shapes.push(line((high, MIDDLE - 4.0), (high, MIDDLE + 4.0)));
        }
        if let Some(x) = place(self.difference) {
            let title = description.clone();
            shapes.push(Element::Mark { look: self.look, at: (x, MIDDLE), small: false, title });
        }
        StripRow {
            look: self.look,
            name: self.name,
            shapes,
            description,
            lead: "",
            numbers: vec![words],
            outcome: Some(outcome.into()),
            states: Vec::new(),
        }
    }
}
