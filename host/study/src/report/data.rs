//! The data of the report, as the study fills it in. The page computes only sums over seeds.

use crate::{properties::Property, results::by_name};
use espalier_evaluate::{Mean, Metric, Retention};
use espalier_model::layout::Projection;
use espalier_sdk::Sparsity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything the page shows. The order of lists is the order on the page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The study's title.
    pub title: String,
    /// Version of Espalier.
    pub espalier: String,
    /// The device that the cells ran on, in words.
    pub device: Option<String>,
    /// The study file, as it was given.
    pub study_file: String,
    /// The study file's text, to the letter.
    pub study_toml: String,
    /// The command that runs the whole study.
    pub command: String,
    /// Every cell of the matrix: done, failed, or not run yet.
    pub cells: Vec<ReportCell>,
    /// The evaluations.
    pub evaluations: Vec<Evaluation>,
    /// The calibration sets.
    pub calibrations: Vec<Calibration>,
    /// Every pruned variant against the dense model.
    pub differences: Vec<Difference>,
    /// Task calibration against plain-text calibration, a method at a time.
    pub gains: Vec<Gain>,
    /// One method's gain from task calibration against another's.
    pub contrasts: Vec<Gain>,
    /// What every pruned variant keeps of each ability.
    pub retentions: Vec<AbilityRetention>,
    /// The properties of calibration data.
    pub properties: Vec<MeasuredProperty>,
    /// How properties of calibration data and results go together.
    pub correlations: Vec<Correlation>,
    /// Predictions to be read side by side; the study may keep only the first of each evaluation.
    pub predictions: Vec<Prediction>,
}

/// One cell of the matrix: a model, dense or pruned in one way with one seed, and its scores.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportCell {
    /// Hash of all that determines the cell.
    pub hash: String,
    /// Its outcome.
    pub state: CellState,
    /// Why it failed, with its causes.
    pub error: Option<String>,
    /// The command that runs this cell alone.
    pub command: String,
    /// The model's name in the study file.
    pub model: String,
    /// The pruning method; none for the dense model.
    pub method: Option<String>,
    /// The row of the table that the cell belongs to, such as `dense` or `SparseGPT-Alpaca`.
    pub label: String,
    /// The sparsity asked for: a share (`0.5`) or a pattern (`2:4`).
    pub sparsity: Option<Sparsity>,
    /// The share of weights that are zero, 0 to 1, over the layers that were pruned.
    pub reached: Option<f64>,
    /// The calibration set's name.
    pub calibration: Option<String>,
    /// The selector of calibration data.
    pub selector: Option<String>,
    /// The seed of the calibration draw.
    pub seed: Option<u64>,
    /// Wall-clock time of the cell.
    pub seconds: Option<f64>,
    /// The report of every pruned layer.
    pub layers: Vec<LayerResult>,
    /// Scores: by evaluation, then by metric.
    #[serde(serialize_with = "by_name::evaluations")]
    pub scores: BTreeMap<String, BTreeMap<Metric, Mean>>,
    /// What it keeps of each ability, by the group of evaluations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub retention: BTreeMap<String, Retention>,
}

/// The state of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellState {
    /// It ran; its scores are there.
    Done,
    /// It ran and failed; its error is there.
    Failed,
    /// It has not run yet.
    #[default]
    Missing,
}

/// One pruned linear layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerResult {
    /// The transformer block, from 0.
    pub block: usize,
    /// The projection.
    pub projection: Projection,
    /// The share of its weights that are zero, 0 to 1.
    pub sparsity: f64,
    /// The method's own reconstruction error, if it gives one.
    pub error: Option<f64>,
}

/// The evaluations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Its name in the study file.
    pub name: String,
    /// Its metrics, in the order of the table's columns.
    pub metrics: Vec<Metric>,
    /// Items that were scored.
    pub items: usize,
    /// The ability that it is a measure of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A calibration set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Its name in the study file.
    pub name: String,
    /// Its kind.
    pub kind: CalibrationKind,
    /// In words: files, windows, tokens.
    pub summary: String,
}

/// The kind of a calibration set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationKind {
    /// Running text, such as C4.
    #[default]
    PlainText,
    /// Instructions, questions or chats with their answers, such as Alpaca.
    Task,
    /// Both.
    Mixed,
}

/// A pruned variant against the dense model, paired over items, its seeds averaged. No difference is
/// detected where `low ≤ 0 ≤ high`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The model's name.
    pub model: String,
    /// The variant's row of the table.
    pub label: String,
    /// The pruning method.
    pub method: String,
    /// The sparsity asked for.
    pub sparsity: Sparsity,
    /// The calibration set.
    pub calibration: Option<String>,
    /// The evaluation.
    pub evaluation: String,
    /// The metric, in whose units the numbers below are.
    pub metric: Metric,
    /// The dense model's mean.
    pub dense: f64,
    /// The variant's mean over its seeds.
    pub mean: f64,
    /// `mean − dense`.
    pub difference: f64,
    /// Lower end of the difference's 95% interval.
    pub low: f64,
    /// Upper end of the difference's 95% interval.
    pub high: f64,
    /// Seeds that were averaged.
    pub seeds: usize,
}

/// The difference that calibration on a task's data made for one method over calibration on plain text, paired over items, seeds
/// averaged; or how much more it gave this method than another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// The model's name.
    pub model: String,
    /// The pruning method.
    pub method: String,
    /// The method whose gain is subtracted, where it is more than another's that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// The sparsity asked for.
    pub sparsity: Sparsity,
    /// The plain-text calibration set.
    pub plain: String,
    /// The task calibration set.
    pub task: String,
    /// The evaluation.
    pub evaluation: String,
    /// The metric, in whose units the numbers below are.
    pub metric: Metric,
    /// The mean with `task` minus the mean with `plain`; minus the same of `against`.
    pub difference: f64,
    /// Lower end of its 95% interval.
    pub low: f64,
    /// Upper end of its 95% interval.
    pub high: f64,
    /// Seeds that were averaged.
    pub seeds: usize,
}

/// What a pruned variant keeps of an ability, its seeds averaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AbilityRetention {
    /// The model's name.
    pub model: String,
    /// The variant's row of the table.
    pub label: String,
    /// The pruning method.
    pub method: String,
    /// The sparsity asked for.
    pub sparsity: Sparsity,
    /// The calibration set.
    pub calibration: Option<String>,
    /// The group of evaluations.
    pub group: String,
    /// The share of the dense model's scores, chance taken off.
    pub retention: Retention,
    /// Seeds that were averaged.
    pub seeds: usize,
}

/// A property of the data that a model was calibrated with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredProperty {
    /// The model's name.
    pub model: String,
    /// The calibration set.
    pub calibration: String,
    /// The seed of the draw.
    pub seed: u64,
    /// The property.
    pub property: Property,
    /// The evaluation that an overlap is with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<String>,
    /// Its value: shares from 0 to 1.
    pub value: f64,
}

/// What calibration data may go together with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The retention of a group of evaluations.
    Retention(String),
    /// The first metric of an evaluation that is in no group.
    Score {
        /// The evaluation.
        evaluation: String,
        /// The metric.
        metric: Metric,
    },
}

/// Spearman's rank correlation between a property of calibration data and a result, over the calibration sets of a
/// method at a sparsity, seeds averaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// The model's name.
    pub model: String,
    /// The pruning method.
    pub method: String,
    /// The sparsity asked for.
    pub sparsity: Sparsity,
    /// The property; an overlap is with the evaluations of the result, on average.
    pub property: Property,
    /// The result.
    pub outcome: Outcome,
    /// A calibration set each.
    pub points: Vec<CorrelationPoint>,
    /// The correlation, of four sets or more that are not all alike.
    pub rho: Option<f64>,
    /// Its 95% interval, if it has one.
    pub interval: Option<(f64, f64)>,
    /// Whether it is told from none: of [`SETS_TO_CLAIM`](Self::SETS_TO_CLAIM) sets or more, and after Holm's correction
    /// for all correlations of the study.
    pub stands: bool,
}

impl Correlation {
    /// The fewest sets of which a correlation is claimed. Of fewer the interval does not hold what it says.
    pub const SETS_TO_CLAIM: usize = 10;
}

/// A calibration set with a property of its data and what came of calibrating with it, seeds averaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorrelationPoint {
    /// The calibration set.
    pub calibration: String,
    /// The property.
    pub property: f64,
    /// The result.
    pub outcome: f64,
}

/// The answers of the dense model and its pruned variants to one item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The model's name.
    pub model: String,
    /// The evaluation.
    pub evaluation: String,
    /// The item's number in the evaluation, from 0.
    pub item: usize,
    /// The prompt.
    pub prompt: String,
    /// The right answers.
    pub references: Vec<String>,
    /// The dense model's answer.
    pub dense: Output,
    /// The pruned variants' answers.
    pub others: Vec<Output>,
}

/// One model's answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// The variant's row of the table, `dense` for the dense model.
    pub label: String,
    /// The sparsity asked for.
    pub sparsity: Option<Sparsity>,
    /// The seed.
    pub seed: Option<u64>,
    /// The answer.
    pub text: String,
    /// Its scores, by metric.
    pub scores: BTreeMap<Metric, f64>,
}
