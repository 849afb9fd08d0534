//! The page as a whole: what its templates are given.

use super::{
    cells::{self, Cells},
    data::{Calibration, CellState, Report},
    metric::duration,
    missing::{Missing, missing},
    plots::{self, Figure, FigureGroup, HeatMap, RetentionMap},
    power::{Undecided, assumptions, undecided},
    predictions::{self, Predictions},
    properties::{DataSection, data},
    table::{self, ScoreTable},
    template,
    verdict::verdict,
    view::{FilterChoice, Look, ReportView, TextSpan, distinct},
};
use serde::Serialize;

/// Everything the page shows, in its order.
#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    espalier: &'a str,
    device: Option<&'a str>,
    study_file: &'a str,
    study_toml: &'a str,
    command: &'a str,
    calibrations: &'a [Calibration],
    /// Cells that are done, of how many, and the time they took in words.
    done: usize,
    count: usize,
    work: Option<String>,
    unfinished: Vec<StateCount>,
    /// The choices of the filter of figures, which the script shows and answers.
    filter: Vec<FilterChoice>,
    /// Colours and shapes.
    legend: Vec<LegendEntry<'a>>,
    dense_look: Look,
    missing: Option<Missing>,
    verdict: Vec<TextSpan>,
    scores: Vec<ScoreTable<'a>>,
    dense: Vec<FigureGroup<'a>>,
    task: Vec<FigureGroup<'a>>,
    undecided: Vec<Undecided<'a>>,
    /// The level and the power by which what it would take is told.
    assumptions: String,
    seeds: Vec<FigureGroup<'a>>,
    retention: Vec<RetentionMap<'a>>,
    heat_maps: Vec<HeatMap<'a>>,
    sensitivity: Vec<FigureGroup<'a>>,
    data: Option<DataSection<'a>>,
    properties: Vec<FigureGroup<'a>>,
    curves: Vec<Figure<'a>>,
    scatter: Vec<Figure<'a>>,
    layers: Vec<Figure<'a>>,
    predictions: Option<Predictions<'a>>,
    cells: Cells<'a>,
}

/// How many cells are in a state.
#[derive(Serialize)]
pub(super) struct StateCount {
    pub(super) state: CellState,
    pub(super) count: usize,
}

#[derive(Serialize)]
struct LegendEntry<'a> {
    look: Look,
    label: &'a str,
}

/// The report as one self-contained page of HTML.
///
/// # Errors
/// A template that does not fit the report, which is a fault of this program.
pub fn render(report: &Report) -> Result<String, minijinja::Error> {
    let view = &ReportView::new(report);
    let count = |state| report.cells.iter().filter(|cell| cell.state == state).count();
    let unfinished =
        [CellState::Failed, CellState::Missing].map(|state| StateCount { state, count: count(state) });
    let seconds: f64 = report.cells.iter().filter_map(|cell| cell.seconds).sum();
    template::render(&Page {
        title: &report.title,
        espalier: &report.espalier,
        device: report.device.as_deref(),
        study_file: &report.study_file,
        study_toml: &report.study_toml,
        command: &report.command,
        calibrations: &report.calibrations,
        done: count(CellState::Done),
        count: report.cells.len(),
        work: (seconds > 0.0).then(|| duration(seconds)),
        unfinished: unfinished.into_iter().filter(|state| state.count > 0).collect(),
        filter: filter(view),
        legend: legend(view),
        dense_look: view.look(None, None),
        missing: missing(view),
        verdict: verdict(view),
        scores: table::tables(view),
        dense: plots::forest(view),
        task: plots::gains(view),
        undecided: undecided(view),
        assumptions: assumptions(view),
        seeds: plots::dots(view),
        retention: plots::retention(view),
        heat_maps: plots::heat_maps(view),
        sensitivity: plots::sensitivity(view),
        data: data(view),
        properties: plots::properties(view),
        curves: plots::curves(view),
        scatter: plots::scatter(view),
        layers: plots::layers(view),
        predictions: predictions::predictions(view),
        cells: cells::cells(view),
    })
}

/// The choices of the filter of all figures that leave a choice.
fn filter(view: &ReportView<'_>) -> Vec<FilterChoice> {
    let columns = view.columns();
    let evaluations = distinct(columns.iter().map(|column| column.evaluation.to_owned()));
    let metrics = distinct(columns.iter().map(|column| column.metric.to_string()));
    let models = view.models.iter().map(|&model| model.to_owned()).collect();
    let sparsities = view.sparsities.iter().map(ToString::to_string).collect();
    let choices = [
        FilterChoice { name: "model", label: "Model", every: "every model", values: models },
        FilterChoice {
            name: "evaluation",
            label: "Evaluation",
            every: "every evaluation",
            values: evaluations,
        },
        FilterChoice { name: "metric", label: "Metric", every: "every metric", values: metrics },
        FilterChoice { name: "sparsity", label: "Sparsity", every: "every sparsity", values: sparsities },
    ];
    choices.into_iter().filter(|choice| choice.values.len() > 1).collect()
}

/// The first model's variants, each label once.
fn legend<'a>(view: &ReportView<'a>) -> Vec<LegendEntry<'a>> {
    let first = |at: &usize| view.variants[..*at].iter().all(|other| other.label != view.variants[*at].label);
    let of_first_model = |at: &usize| view.variants[*at].model == view.models[0];
    let entry = |at: usize| {
        let variant = &view.variants[at];
        LegendEntry { look: view.look_of(variant), label: variant.label }
    };
    (0..view.variants.len()).filter(of_first_model).filter(first).map(entry).collect()
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "findings_tests.rs"]
mod findings_tests;
