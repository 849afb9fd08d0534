//! Plots whose rows are variants: a name, a strip on a common axis, and the numbers in words.

use super::{
    scale::Scale,
    svg::{key, line, x_axis},
};
use crate::report::{
    data::CellState,
    html::{Text, put},
    view::{Look, Variant},
};

/// Half the height of a strip, where its marks stand.
pub(super) const MIDDLE: f64 = 11.0;

/// One row.
pub(super) struct Row {
    pub(super) look: Look,
    pub(super) name: String,
    /// The drawing of the strip.
    pub(super) strip: String,
    /// A description of the strip.
    pub(super) description: String,
    /// The numbers, as HTML.
    pub(super) value: String,
}

/// A strip that is hatched, because its variant failed or has not run.
pub(super) fn hatching(variant: &Variant<'_>) -> String {
    let state = if variant.count(CellState::Failed) > 0 { "failed" } else { "missing" };
    let height = 2.0 * MIDDLE - 6.0;
    format!("<rect class=\"{state}\" x=\"0\" y=\"3\" width=\"100%\" height=\"{height}\"/>")
}

/// How many of a variant's cells failed or are missing, as HTML; nothing where none are.
pub(super) fn states(variant: &Variant<'_>) -> String {
    let mut out = String::new();
    for (state, word) in [(CellState::Failed, "failed"), (CellState::Missing, "missing")] {
        let count = variant.count(state);
        if count > 0 {
            put!(out, " <span class=\"state {word}\">{count} {word}</span>");
        }
    }
    out
}

/// Rows on a common axis. `reference` is a line through all strips.
pub(super) fn rows(scale: &Scale, reference: Option<f64>, axis: &str, rows: &[Row]) -> String {
    let mut out = "<ul class=\"rows\">\n".to_owned();
    let reference = reference.and_then(|value| scale.percent(value));
    let reference = reference.map_or_else(String::new, |x| line("reference", (x, 0.0), (x, 2.0 * MIDDLE)));
    for row in rows {
        put!(
            out,
            "<li><span class=\"who\">{}{}</span><span class=\"value\">{}</span><svg class=\"strip\" role=\"img\" \
             aria-label=\"{}\" height=\"{}\">{reference}{}</svg></li>\n",
            key(row.look),
            Text(&row.name),
            row.value,
            Text(&row.description),
            2.0 * MIDDLE,
            row.strip
        );
    }
    put!(
        out,
        "<li class=\"scale\" aria-hidden=\"true\"><svg class=\"strip\" height=\"22\">{}</svg></li>\n</ul>\n<p \
         class=\"x-label\">{}</p>\n",
        x_axis(scale, 0.5, &scale.ticks(5)),
        Text(axis)
    );
    out
}
