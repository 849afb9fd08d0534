//! The available results of a study, as the report shows them.

use super::{by_name, predictions};
use crate::{
    Cell, Plan, Result, StudyError,
    folder::{self, Folder},
    report::{self, CellState, LayerResult},
};
use espalier_evaluate::{Mean, Metric};
use espalier_model::layout::Projection;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The scores of a cell in one evaluation: its `scores.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Scores {
    /// The evaluation, as the study file called it.
    pub(crate) evaluation: String,
    /// The mean of every metric.
    #[serde(serialize_with = "by_name::metrics")]
    pub(crate) metrics: BTreeMap<Metric, Mean>,
    /// Wall time, in seconds.
    pub(crate) seconds: f64,
    /// The device, in words.
    pub(crate) device: String,
}

/// Why a cell failed: its `failed.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The error and its causes.
    pub(crate) error: String,
}

/// The part of a manifest that the results need: a cell's `pruning.json`.
#[derive(Debug, Clone, Deserialize)]
struct Pruning {
    reached: f64,
    seconds: f64,
    device: DeviceRecord,
    layers: Vec<LayerRecord>,
}

#[derive(Debug, Clone, Deserialize)]
struct DeviceRecord {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct LayerRecord {
    name: String,
    sparsity: f64,
    error: Option<f64>,
}

/// The names of a cell's files.
pub(crate) const PRUNING: &str = "pruning.json";
pub(crate) const FAILED: &str = "failed.json";
pub(crate) const SCORES: &str = "scores.json";
pub(crate) const PREDICTIONS: &str = "predictions.jsonl";

/// The folder of a cell's evaluation.
pub(crate) fn evaluation_folder(plan: &Plan, home: &Path, evaluation: usize) -> PathBuf {
    home.join("evaluations").join(plan.identities().evaluation(evaluation))
}

/// Whether what there is to know of a cell's pruning is there, if it was pruned.
pub(crate) fn knows_pruning(cell: &Cell, home: &Path) -> Result<bool> {
    Ok(cell.variant.is_none() || folder::read_sound::<Pruning>(&home.join(PRUNING))?.is_some())
}

/// The scores of a cell in an evaluation; none where it was not run, or where its files are damaged.
pub(crate) fn scores(plan: &Plan, home: &Path, evaluation: usize) -> Result<Option<Scores>> {
    let folder = evaluation_folder(plan, home, evaluation);
    let Some(scores) = folder::read_sound(&folder.join(SCORES))? else { return Ok(None) };
    match predictions::read(&folder.join(PREDICTIONS), usize::MAX) {
        Ok(_) => Ok(Some(scores)),
        Err(StudyError::Malformed { path, source }) => {
            folder::damaged(&path, &source);
            Ok(None)
        }
        // Not UTF-8. What cannot be read at all is an error: it may be whole.
        Err(StudyError::Read { path, source }) if source.kind() == std::io::ErrorKind::InvalidData => {
            folder::damaged(&path, &source);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A cell with what is there of its results, and the device it ran on.
pub(super) fn cell(
    plan: &Plan,
    folder: &Folder,
    cell: &Cell,
    command: &str,
) -> Result<(report::ReportCell, Option<String>)> {
    let study = plan.study();
    let home = folder.cell(&cell.hash);
    let mut found = report::ReportCell {
        hash: cell.hash.clone(),
        command: format!("{command} --cell {}", cell.hash),
        model: study.models[cell.model].name.clone(),
        label: plan.label(cell),
        ..report::ReportCell::default()
    };
    if let Some(variant) = &cell.variant {
        found.method = Some(study.methods[variant.method].name.clone());
        found.sparsity = Some(variant.sparsity);
        if let Some(drawn) = variant.calibration {
            let set = &study.calibrations[drawn.set];
            found.calibration = Some(set.name.clone());
            found.selector = set.selector.as_ref().map(|selector| selector.record().name.clone());
            found.seed = Some(drawn.seed);
        }
    }
    let mut seconds = None;
    let mut device = None;
    if let Some(pruning) = folder::read_sound::<Pruning>(&home.join(PRUNING))? {
        found.reached = Some(pruning.reached);
        found.layers = pruning.layers.iter().filter_map(layer).collect();
        seconds = Some(pruning.seconds);
        device = Some(pruning.device.name);
    }
    for (place, evaluation) in study.evaluations.iter().enumerate() {
        if let Some(scores) = scores(plan, &home, place)? {
            seconds = Some(seconds.unwrap_or(0.0) + scores.seconds);
            device = device.or(Some(scores.device));
            found.scores.insert(evaluation.name().to_owned(), scores.metrics);
        }
    }
    found.seconds = seconds;
    let failure = folder::read_sound::<Failure>(&home.join(FAILED))?;
    found.state = match &failure {
        _ if found.scores.len() == study.evaluations.len()
            && (cell.variant.is_none() || found.reached.is_some()) =>
        {
            CellState::Done
        }
        Some(_) => CellState::Failed,
        None => CellState::Missing,
    };
    found.error = failure.map(|failure| failure.error).filter(|_| found.state == CellState::Failed);
    Ok((found, device))
}

fn layer(layer: &LayerRecord) -> Option<LayerResult> {
    let (block, projection) = Projection::parse(&layer.name)?;
    Some(LayerResult { block, projection, sparsity: layer.sparsity, error: layer.error })
}
