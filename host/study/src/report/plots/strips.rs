//! Plots whose rows are variants: a name, a strip on a common axis, and the numbers in words.

use super::{Element, Tick, scale::Scale};
use crate::report::{
    data::CellState,
    metric::IntervalOutcome,
    page::StateCount,
    view::{Look, ReportVariant},
};
use serde::Serialize;

/// Half the height of a strip, where its marks stand.
pub(super) const MIDDLE: f64 = 11.0;

/// Rows on a common axis.
#[derive(Serialize)]
pub(super) struct StripPlot {
    rows: Vec<StripRow>,
    /// The height of a strip.
    height: u32,
    /// The place of a line through all strips.
    reference: Option<f64>,
    ticks: Vec<Tick>,
    /// The label of the axis.
    axis: String,
}

/// One row.
#[derive(Serialize)]
pub(super) struct StripRow {
    pub(super) look: Look,
    pub(super) name: String,
    pub(super) shapes: Vec<Element>,
    /// A description of the shapes.
    pub(super) description: String,
    /// The word before the numbers.
    pub(super) lead: &'static str,
    pub(super) numbers: Vec<String>,
    pub(super) outcome: Option<OutcomeWords>,
    /// How many of the variant's cells failed or are missing.
    pub(super) states: Vec<StateCount>,
}

/// The outcome of a comparison, and its class of the style sheet.
#[derive(Serialize)]
pub(super) struct OutcomeWords {
    class: &'static str,
    words: &'static str,
}

impl From<IntervalOutcome> for OutcomeWords {
    fn from(outcome: IntervalOutcome) -> Self {
        Self { class: outcome.class(), words: outcome.words() }
    }
}

/// A strip that is hatched, because its variant failed or has not run.
pub(super) fn hatching(variant: &ReportVariant<'_>) -> Element {
    let failed = variant.count(CellState::Failed) > 0;
    let state = if failed { CellState::Failed } else { CellState::Missing };
    Element::Hatching { state, height: 2.0 * MIDDLE - 6.0 }
}

/// How many of a variant's cells failed or are missing.
pub(super) fn states(variant: &ReportVariant<'_>) -> Vec<StateCount> {
    let states = [CellState::Failed, CellState::Missing];
    let counts = states.map(|state| StateCount { state, count: variant.count(state) });
    counts.into_iter().filter(|state| state.count > 0).collect()
}

/// The rows on a scale, with a line through all strips at the reference.
pub(super) fn strips(scale: &Scale, reference: Option<f64>, axis: String, rows: Vec<StripRow>) -> StripPlot {
    StripPlot {
        rows,
        height: 2 * MIDDLE as u32,
        reference: reference.and_then(|value| scale.percent(value)),
        ticks: scale.places(&scale.ticks(5)),
        axis,
    }
}
