//! Predictions side by side: dense against pruned.

use super::{
    data::{Output, Prediction},
    metric::MetricFormat,
    view::{FilterChoice, Look, ReportView, distinct},
};
use espalier_evaluate::Metric;
use serde::Serialize;

/// The section of predictions.
#[derive(Serialize)]
pub(super) struct Predictions<'a> {
    filter: [FilterChoice; 2],
    items: Vec<ShownItem<'a>>,
}

/// An item with the answers of all models.
#[derive(Serialize)]
struct ShownItem<'a> {
    evaluation: &'a str,
    item: usize,
    of_model: String,
    prompt: &'a str,
    references: Vec<&'a str>,
    dense: ShownOutput<'a>,
    outputs: Vec<PrunedOutput<'a>>,
}

/// An answer without the line breaks around it, or nothing where there is no more than space.
#[derive(Serialize)]
struct ShownOutput<'a> {
    text: &'a str,
    scores: Vec<String>,
}

/// A pruned model's answer.
#[derive(Serialize)]
struct PrunedOutput<'a> {
    variant: String,
    seed: Option<u64>,
    look: Look,
    change: AnswerChange,
    #[serde(flatten)]
    output: ShownOutput<'a>,
}

/// How a pruned model's answer differs from the dense model's.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum AnswerChange {
    Same,
    Better,
    Worse,
    Changed,
}

impl AnswerChange {
    /// By the first of the evaluation's metrics that differs.
    fn of(dense: &Output, other: &Output, metrics: &[Metric]) -> Self {
        if dense.text == other.text {
            return Self::Same;
        }
        let gains = metrics.iter().filter_map(|metric| {
            let difference = other.scores.get(metric)? - dense.scores.get(metric)?;
            Some(MetricFormat::of(*metric).gain(difference))
        });
        match gains.into_iter().find(|gain| gain.abs() > 1e-9) {
            Some(gain) if gain > 0.0 => Self::Better,
            Some(_) => Self::Worse,
            None => Self::Changed,
        }
    }
}

/// The filter and the list; nothing where no predictions were kept.
pub(super) fn predictions<'a>(view: &ReportView<'a>) -> Option<Predictions<'a>> {
    let all = &view.report.predictions;
    let evaluations = distinct(all.iter().map(|prediction| prediction.evaluation.clone()));
    let outputs = all.iter().flat_map(|prediction| &prediction.others);
    let variants = distinct(outputs.map(|output| view.name(&output.label, output.sparsity)));
    let filter = [
        FilterChoice {
            name: "evaluation",
            label: "Evaluation",
            every: "every evaluation",
            values: evaluations,
        },
        FilterChoice { name: "variant", label: "Variant", every: "every variant", values: variants },
    ];
    let items = all.iter().map(|prediction| item(view, prediction)).collect();
    (!all.is_empty()).then_some(Predictions { filter, items })
}

fn item<'a>(view: &ReportView<'a>, prediction: &'a Prediction) -> ShownItem<'a> {
    let evaluation =
        view.report.evaluations.iter().find(|evaluation| evaluation.name == prediction.evaluation);
    let metrics = evaluation.map_or(&[][..], |evaluation| &evaluation.metrics);
    let outputs = prediction.others.iter().map(|output| {
        let variant = view.pruned(&prediction.model).find(|variant| variant.label == output.label);
        PrunedOutput {
            variant: view.name(&output.label, output.sparsity),
            seed: output.seed,
            look: variant.map_or_else(|| view.look(None, None), |variant| view.look_of(variant)),
            change: AnswerChange::of(&prediction.dense, output, metrics),
            output: shown(output, metrics),
        }
    });
    ShownItem {
        evaluation: &prediction.evaluation,
        item: prediction.item,
        of_model: view.of_model(&prediction.model),
        prompt: trimmed(&prediction.prompt),
        references: prediction.references.iter().map(|reference| trimmed(reference)).collect(),
        dense: shown(&prediction.dense, metrics),
        outputs: outputs.collect(),
    }
}

fn trimmed(text: &str) -> &str {
    if text.trim().is_empty() { "" } else { text.trim_matches('\n') }
}

fn shown<'a>(output: &'a Output, metrics: &[Metric]) -> ShownOutput<'a> {
    let scores = metrics.iter().filter_map(|metric| {
        let format = MetricFormat::of(*metric);
        Some(format!("{} {}", format.title, format.value(*output.scores.get(metric)?)))
    });
    ShownOutput { text: trimmed(&output.text), scores: scores.collect() }
}
