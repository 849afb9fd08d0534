//! Predictions to be read side by side.

use super::collect::{PREDICTIONS, evaluation_folder};
use crate::{
    evaluate::{Metric, Score},
    study::{
        Plan, Result, StudyError,
        folder::Folder,
        report::{CellState, Output, Prediction, Report},
    },
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// Items of an evaluation that the report shows.
const SHOWN: usize = 24;

/// A line of `predictions.jsonl`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Line {
    prompt: String,
    #[serde(default)]
    prediction: Option<String>,
    references: Vec<String>,
    #[serde(default)]
    tokens: usize,
    /// What it scored; nothing where that is no finite number.
    scores: BTreeMap<String, Option<f64>>,
}

impl Line {
    /// The item's part in a metric's mean.
    pub(super) fn score(&self, metric: Metric) -> Score {
        match self.scores.get(metric.name()) {
            Some(value) => {
                let weight = if metric.of_text() { 1.0 } else { self.tokens as f64 };
                Score { value: value.unwrap_or(f64::NAN), weight }
            }
            None => Score { value: f64::NAN, weight: 0.0 },
        }
    }
}

/// Puts the first predictions of every evaluation into the report: the dense model's, and every variant's with
/// the study's first seed.
pub(super) fn pick(plan: &Plan, folder: &Folder, report: &mut Report) -> Result<()> {
    let study = plan.study();
    for (model, named) in study.models.iter().enumerate() {
        for (place, evaluation) in study.evaluations.iter().enumerate() {
            let mut shown: Vec<Prediction> = Vec::new();
            for (cell, found) in plan.cells().iter().zip(&report.cells) {
                let drawn = cell.variant.as_ref().and_then(|variant| variant.calibration);
                let other_seed = drawn.is_some_and(|drawn| drawn.seed != study.seeds[0]);
                if cell.model != model || other_seed || found.state != CellState::Done {
                    continue;
                }
                let path = evaluation_folder(plan, &folder.cell(&cell.hash), place).join(PREDICTIONS);
                for (item, line) in read(&path, SHOWN)?.into_iter().enumerate() {
                    let Some(text) = line.prediction else { continue };
                    let scores = line.scores.into_iter().filter_map(|(metric, score)| Some((metric, score?)));
                    let output = Output {
                        label: found.label.clone(),
                        sparsity: found.sparsity.clone(),
                        seed: found.seed,
                        text,
                        scores: scores.collect(),
                    };
                    if cell.variant.is_none() {
                        shown.push(Prediction {
                            model: named.name.clone(),
                            evaluation: evaluation.name().to_owned(),
                            item,
                            prompt: line.prompt,
                            references: line.references,
                            dense: output,
                            others: Vec::new(),
                        });
                    } else if let Some(prediction) = shown.iter_mut().find(|shown| shown.item == item) {
                        prediction.others.push(output);
                    }
                }
            }
            report.predictions.append(&mut shown);
        }
    }
    Ok(())
}

/// The first lines of a file of predictions.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<Line>> {
    let unread = |source| StudyError::Read { path: path.to_owned(), source };
    let lines = BufReader::new(File::open(path).map_err(unread)?).lines().take(limit);
    let line = |line: std::io::Result<String>| {
        serde_json::from_str(&line.map_err(unread)?)
            .map_err(|source| StudyError::Malformed { path: path.to_owned(), source })
    };
    lines.map(line).collect()
}
