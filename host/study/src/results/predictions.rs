//! Predictions to be read side by side.

use super::collect::{PREDICTIONS, evaluation_folder};
use crate::{
    Plan, Result, StudyError,
    folder::Folder,
    report::{CellState, Output, Prediction, Report},
};
use espalier_base::files;
use espalier_evaluate::Item;
use std::{
    io::{BufRead, BufReader},
    path::Path,
};

/// Items of an evaluation that the report shows.
const SHOWN: usize = 24;

/// Puts the first predictions of every evaluation into the report: the dense model's, and every variant's with
/// the study's first seed.
pub(super) fn pick(plan: &Plan, folder: &Folder, report: &mut Report) -> Result<()> {
    let study = plan.study();
    for (model, named) in study.models.iter().enumerate() {
        for (at, evaluation) in study.evaluations.iter().enumerate() {
            let mut shown: Vec<Prediction> = Vec::new();
            for (cell, found) in plan.cells().iter().zip(&report.cells) {
                let drawn = cell.variant.as_ref().and_then(|variant| variant.calibration);
                let other_seed = drawn.is_some_and(|drawn| drawn.seed != study.seeds[0]);
                if cell.model != model || other_seed || found.state != CellState::Done {
                    continue;
                }
                let path = evaluation_folder(plan, &folder.cell(&cell.hash), at).join(PREDICTIONS);
                for (place, item) in read(&path, SHOWN)?.into_iter().enumerate() {
                    let Some(text) = item.prediction else { continue };
                    let scores = item.scores.into_iter().filter(|(_, score)| score.is_finite());
                    let output = Output {
                        label: found.label.clone(),
                        sparsity: found.sparsity,
                        seed: found.seed,
                        text,
                        scores: scores.collect(),
                    };
                    if cell.variant.is_none() {
                        shown.push(Prediction {
                            model: named.name.clone(),
                            evaluation: evaluation.name().to_owned(),
                            item: place,
                            prompt: item.prompt,
                            references: item.references,
                            dense: output,
                            others: Vec::new(),
                        });
                    } else if let Some(prediction) = shown.iter_mut().find(|shown| shown.item == place) {
                        prediction.others.push(output);
                    }
                }
            }
            report.predictions.append(&mut shown);
        }
    }
    Ok(())
}

/// The first items of a file of predictions.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<Item>> {
    let unread = |source| StudyError::Read { path: path.to_owned(), source };
    let lines = BufReader::new(files::open(path).map_err(unread)?).lines().take(limit);
    let line = |line: std::io::Result<String>| {
        serde_json::from_str(&line.map_err(unread)?)
            .map_err(|source| StudyError::Malformed { path: path.to_owned(), source })
    };
    lines.map(line).collect()
}
