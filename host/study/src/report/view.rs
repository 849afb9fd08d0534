//! The report in the order it is read: cells gathered into variants, seeds into means and spreads.

use super::{
    data::{CellState, Difference, Report, ReportCell},
    metric::{MetricFormat, sparsity_title},
};
use espalier_evaluate::Metric;
use espalier_sdk::Sparsity;
use serde::Serialize;

/// A report with what the page's parts share.
pub(crate) struct ReportView<'a> {
    pub(crate) report: &'a Report,
    /// Models, by first appearance, as are the next three.
    pub(crate) models: Vec<&'a str>,
    pub(crate) methods: Vec<&'a str>,
    pub(crate) sparsities: Vec<Sparsity>,
    /// Ways of getting calibration data: the set, and the selector where the study has several.
    pub(crate) sets: Vec<String>,
    pub(crate) variants: Vec<ReportVariant<'a>>,
}

/// The cells that differ by their seed alone: one row of the table.
pub(crate) struct ReportVariant<'a> {
    pub(crate) model: &'a str,
    pub(crate) label: &'a str,
    pub(crate) method: Option<&'a str>,
    pub(crate) sparsity: Option<Sparsity>,
    /// The way of getting calibration data, one of [`ReportView::sets`].
    pub(crate) set: Option<String>,
    pub(crate) cells: Vec<&'a ReportCell>,
}

/// A variant's score over its seeds.
pub(crate) struct VariantScore {
    /// The mean over seeds.
    pub(crate) mean: f64,
    /// Standard deviation over seeds (n − 1), where there are two.
    pub(crate) spread: Option<f64>,
    /// The value of every seed.
    pub(crate) seeds: Vec<(Option<u64>, f64)>,
}

/// One column of the table: an evaluation and one of its metrics.
#[derive(Clone, Copy)]
pub(crate) struct Column<'a> {
    pub(crate) evaluation: &'a str,
    pub(crate) metric: Metric,
    pub(crate) format: MetricFormat,
}

impl<'a> ReportView<'a> {
    pub(crate) fn new(report: &'a Report) -> Self {
        let cells = &report.cells;
        let several_selectors = distinct(cells.iter().filter_map(|cell| cell.selector.as_deref())).len() > 1;
        let mut variants: Vec<ReportVariant<'a>> = Vec::new();
        for cell in cells {
            let sparsity = cell.sparsity.filter(|_| cell.method.is_some());
            let known = variants.iter_mut().find(|variant| {
                variant.model == cell.model && variant.label == cell.label && variant.sparsity == sparsity
            });
            if let Some(variant) = known {
                variant.cells.push(cell);
                continue;
            }
            let calibration = cell.calibration.as_deref();
            let set = calibration.map(|calibration| match &cell.selector {
                Some(selector) if several_selectors => format!("{calibration} ({selector})"),
                _ => calibration.to_owned(),
            });
            variants.push(ReportVariant {
                model: &cell.model,
                label: &cell.label,
                method: cell.method.as_deref(),
                sparsity,
                set,
                cells: vec![cell],
            });
        }
        Self {
            report,
            models: distinct(cells.iter().map(|cell| cell.model.as_str())),
            methods: distinct(cells.iter().filter_map(|cell| cell.method.as_deref())),
            sparsities: distinct(variants.iter().filter_map(|variant| variant.sparsity)),
            sets: distinct(variants.iter().filter_map(|variant| variant.set.clone())),
            variants,
        }
    }

    /// Every evaluation's every metric.
    pub(crate) fn columns(&self) -> Vec<Column<'a>> {
        let evaluations = self.report.evaluations.iter();
        evaluations
            .flat_map(|evaluation| {
                evaluation.metrics.iter().map(|&metric| Column {
                    evaluation: &evaluation.name,
                    metric,
                    format: MetricFormat::of(metric),
                })
            })
            .collect()
    }

    /// The dense model's row.
    pub(crate) fn dense(&self, model: &str) -> Option<&ReportVariant<'a>> {
        self.variants.iter().find(|variant| variant.model == model && variant.method.is_none())
    }

    /// The pruned variants of a model.
    pub(crate) fn pruned<'v>(&'v self, model: &'v str) -> impl Iterator<Item = &'v ReportVariant<'a>> {
        self.variants.iter().filter(move |variant| variant.model == model && variant.method.is_some())
    }

    /// The study's comparison of a variant with the dense model.
    pub(crate) fn difference(
        &self,
        variant: &ReportVariant<'_>,
        column: Column<'_>,
    ) -> Option<&'a Difference> {
        self.report.differences.iter().find(|difference| {
            difference.model == variant.model
                && difference.label == variant.label
                && Some(difference.sparsity) == variant.sparsity
                && difference.evaluation == column.evaluation
                && difference.metric == column.metric
        })
    }

    /// A variant's name where all of a model's variants stand together.
    pub(crate) fn name(&self, label: &str, sparsity: Option<Sparsity>) -> String {
        match sparsity {
            Some(sparsity) if self.sparsities.len() > 1 => format!("{label} {}", sparsity_title(sparsity)),
            _ => label.to_owned(),
        }
    }

    /// A model's name to be put after a title, where there are several.
    pub(crate) fn of_model(&self, model: &str) -> String {
        if self.models.len() > 1 { format!(", {model}") } else { String::new() }
    }

    /// The colour (by method) and the shape and dashes (by calibration) of a variant. Colour and shape together
    /// are unique as long as a study has no more than six methods and seven sets.
    pub(crate) fn look(&self, method: Option<&str>, set: Option<&str>) -> Look {
        const CLASSES: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];
        const SYMBOLS: [&str; 7] = ["shape0", "shape1", "shape2", "shape3", "shape4", "shape5", "shape6"];
        const DASHES: [&str; 5] = ["none", "6 3", "2 3", "8 3 2 3", "12 4"];
        let colour = method.and_then(|method| self.methods.iter().position(|known| *known == method));
        let shape = set.and_then(|set| self.sets.iter().position(|known| known == set));
        Look {
            class: colour.map_or("c-dense", |index| CLASSES[index % CLASSES.len()]),
            symbol: match (colour, shape) {
                (None, _) => "shape-dense",
                (_, None) => "shape-none",
                (_, Some(index)) => SYMBOLS[index % SYMBOLS.len()],
            },
            dashes: DASHES[shape.unwrap_or(0) % DASHES.len()],
        }
    }

    /// The look of a variant.
    pub(crate) fn look_of(&self, variant: &ReportVariant<'_>) -> Look {
        self.look(variant.method, variant.set.as_deref())
    }
}

impl ReportVariant<'_> {
    /// The score over all seeds that have one.
    pub(crate) fn score(&self, column: Column<'_>) -> Option<VariantScore> {
        let seeds: Vec<_> = self
            .cells
            .iter()
            .filter(|cell| cell.state == CellState::Done)
            .filter_map(|cell| {
                Some((cell.seed, cell.scores.get(column.evaluation)?.get(&column.metric)?.mean))
            })
            .collect();
        let count = seeds.len() as f64;
        let mean = seeds.iter().map(|(_, value)| value).sum::<f64>() / count;
        let squares: f64 = seeds.iter().map(|(_, value)| (value - mean).powi(2)).sum();
        let spread = (seeds.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        (!seeds.is_empty()).then_some(VariantScore { mean, spread, seeds })
    }

    /// How many of its cells are in a state.
    pub(crate) fn count(&self, state: CellState) -> usize {
        self.cells.iter().filter(|cell| cell.state == state).count()
    }
}

/// Colour and shape of a variant.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Look {
    /// The class of its colour.
    pub(super) class: &'static str,
    /// The name of its symbol.
    symbol: &'static str,
    /// The dashes of its line.
    dashes: &'static str,
}

/// A choice among values, in a form.
#[derive(Serialize)]
pub(crate) struct FilterChoice {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// The words for all of them.
    pub(crate) every: &'static str,
    pub(crate) values: Vec<String>,
}

/// A piece of a sentence.
#[derive(Serialize)]
pub(crate) struct TextSpan {
    strong: bool,
    text: String,
}

impl TextSpan {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { strong: false, text: text.into() }
    }

    pub(crate) fn strong(text: impl Into<String>) -> Self {
        Self { strong: true, text: text.into() }
    }
}

/// The distinct values, by first appearance.
pub(crate) fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}
