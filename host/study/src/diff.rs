//! Two folders of results beside each other: what became better, what worse, and what is missing.

use super::{
    Result, StudyError,
    report::{CellState, MetricFormat, ReportCell},
};
use espalier_base::files::{self, Limit};
use espalier_evaluate::Metric;
use espalier_sdk::Sparsity;
use serde::Serialize;
use std::{io, path::Path};

/// How a score of one study compares with that of another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreChange {
    /// The model.
    pub model: String,
    /// The row of the table: `dense`, or method and calibration.
    pub label: String,
    /// The sparsity asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<Sparsity>,
    /// The evaluation.
    pub evaluation: String,
    /// The metric.
    pub metric: Metric,
    /// The mean over seeds in the first study.
    pub before: Option<f64>,
    /// The mean over seeds in the second.
    pub after: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
}

/// The verdict on a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the tolerance.
    Same,
    /// Better by more than the tolerance.
    Better,
    /// Worse by more than the tolerance.
    Worse,
    /// There in the first study only.
    Missing,
    /// There in the second study only.
    New,
}

impl ScoreChange {
    /// Whether it is for the worse.
    pub fn is_regression(&self) -> bool {
        matches!(self.verdict, Verdict::Worse | Verdict::Missing)
    }
}

type ScoreKey = (String, String, Option<Sparsity>, String, Metric);

/// Compares the scores of two folders of results, row by row of their tables, means over seeds. A score is
/// worse if it is so by more than `tolerance` times its first value.
///
/// # Errors
/// One of the folders holds no results.
pub fn diff(before: &Path, after: &Path, tolerance: f64) -> Result<Vec<ScoreChange>> {
    let (before, after) = (means(before)?, means(after)?);
    let mut keys: Vec<&ScoreKey> = before.iter().map(|(key, _)| key).collect();
    keys.extend(
        after.iter().map(|(key, _)| key).filter(|key| !before.iter().any(|(known, _)| known == *key)),
    );
    let find = |scores: &[(ScoreKey, f64)], key: &ScoreKey| {
        scores.iter().find(|(known, _)| known == key).map(|(_, score)| *score)
    };
    let changes = keys.into_iter().map(|key| {
        let (old, new) = (find(&before, key), find(&after, key));
        let (model, label, sparsity, evaluation, metric) = key.clone();
        let verdict = verdict(metric, old, new, tolerance);
        ScoreChange { model, label, sparsity, evaluation, metric, before: old, after: new, verdict }
    });
    Ok(changes.collect())
}

fn verdict(metric: Metric, before: Option<f64>, after: Option<f64>, tolerance: f64) -> Verdict {
    let (Some(before), Some(after)) = (before, after) else {
        return if before.is_some() { Verdict::Missing } else { Verdict::New };
    };
    let gain = MetricFormat::of(metric).gain(after - before);
    // A NaN is worse than any number.
    match (before.is_nan(), after.is_nan()) {
        (false, true) => Verdict::Worse,
        (true, false) => Verdict::Better,
        (true, true) => Verdict::Same,
        _ if before == after || gain.abs() <= tolerance * before.abs() => Verdict::Same,
        _ if gain > 0.0 => Verdict::Better,
        _ => Verdict::Worse,
    }
}

/// The mean over seeds of every score, in the order of the results.
fn means(folder: &Path) -> Result<Vec<(ScoreKey, f64)>> {
    let path = folder.join("results.jsonl");
    let text = files::read_text(&path, Limit::RECORD).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            StudyError::Request(format!("{} holds no results of a study", folder.display()))
        }
        _ => StudyError::Read { path: path.clone(), source },
    })?;
    let mut scores: Vec<(ScoreKey, Vec<f64>)> = Vec::new();
    for line in text.lines() {
        let row: ReportCell = serde_json::from_str(line)
            .map_err(|source| StudyError::Malformed { path: path.clone(), source })?;
        if row.state != CellState::Done {
            continue;
        }
        for (evaluation, metrics) in &row.scores {
            for (metric, score) in metrics {
                let key = (row.model.clone(), row.label.clone(), row.sparsity, evaluation.clone(), *metric);
                match scores.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, means)) => means.push(score.mean),
                    None => scores.push((key, vec![score.mean])),
                }
            }
        }
    }
    let mean = |(key, means): (ScoreKey, Vec<f64>)| (key, means.iter().sum::<f64>() / means.len() as f64);
    Ok(scores.into_iter().map(mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(rows: &[(&str, u64, f64, f64)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let line = |(label, seed, f1, perplexity): &(&str, u64, f64, f64)| {
            let score = |mean: f64| serde_json::json!({"mean": mean, "low": mean, "high": mean, "items": 9});
            serde_json::json!({
                "hash": "00", "state": "done", "model": "tiny", "label": label, "seed": seed,
                "scores": {"Alpaca": {"f1": score(*f1)}, "Text": {"perplexity": score(*perplexity)}},
            })
            .to_string()
        };
        let text = rows.iter().map(line).collect::<Vec<_>>().join("\n");
        std::fs::write(folder.path().join("results.jsonl"), text).unwrap();
        folder
    }

    #[test]
    fn worse_depends_on_the_metric_and_the_tolerance() {
        let before =
            results(&[("dense", 0, 0.8, 10.0), ("Wanda-C4", 0, 0.4, 12.0), ("Wanda-C4", 1, 0.6, 14.0)]);
        let after =
            results(&[("dense", 0, 0.8, 10.0), ("Wanda-C4", 0, 0.49, 12.5), ("Wanda-C4", 1, 0.49, 14.0)]);
        let verdicts = |tolerance: f64| {
            let changes = diff(before.path(), after.path(), tolerance).unwrap();
            changes.iter().map(|change| change.verdict).collect::<Vec<_>>()
        };
        use Verdict::{Same, Worse};
        assert_eq!(verdicts(0.0), [Same, Same, Worse, Worse]);
        assert_eq!(verdicts(0.03), [Same; 4]);
        let back = diff(after.path(), before.path(), 0.0).unwrap();
        assert!(back.iter().all(|change| !change.is_regression()));
        assert_eq!(back[2].verdict, Verdict::Better);
        assert_eq!((back[2].before, back[2].after), (Some(0.49), Some(0.5)));
    }

    #[test]
    fn what_is_missing_is_a_regression() {
        let (both, one) =
            (results(&[("dense", 0, 0.8, 10.0), ("A", 0, 0.1, 9.0)]), results(&[("dense", 0, 0.8, 10.0)]));
        let changes = diff(both.path(), one.path(), 0.0).unwrap();
        assert_eq!(changes.iter().filter(|change| change.verdict == Verdict::Missing).count(), 2);
        assert!(changes[2].is_regression());
        let changes = diff(one.path(), both.path(), 0.0).unwrap();
        assert!(changes.iter().all(|change| !change.is_regression()));
        let nowhere = tempfile::tempdir().unwrap();
        assert!(matches!(diff(nowhere.path(), both.path(), 0.0), Err(StudyError::Request(_))));
    }

    #[test]
    fn no_number_is_worse_than_any() {
        assert_eq!(verdict(Metric::F1, Some(0.1), Some(f64::NAN), 0.5), Verdict::Worse);
        assert_eq!(verdict(Metric::Perplexity, Some(f64::INFINITY), Some(f64::INFINITY), 0.0), Verdict::Same);
        assert_eq!(verdict(Metric::Perplexity, Some(3.0), Some(f64::INFINITY), 0.1), Verdict::Worse);
    }
}
