//! Scores in files, in the alphabetical order of their metrics' names.

use espalier_evaluate::{Mean, Metric};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The scores of one evaluation.
pub(crate) fn metrics<S: Serializer>(
    scores: &BTreeMap<Metric, Mean>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    sorted(scores).serialize(serializer)
}

/// The scores of several evaluations.
pub(crate) fn evaluations<S: Serializer>(
    scores: &BTreeMap<String, BTreeMap<Metric, Mean>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let all: BTreeMap<_, _> = scores.iter().map(|(name, scores)| (name, sorted(scores))).collect();
    all.serialize(serializer)
}

/// Scores by the names of their metrics.
pub(super) fn sorted(scores: &BTreeMap<Metric, Mean>) -> BTreeMap<&'static str, Mean> {
    scores.iter().map(|(metric, mean)| (metric.name(), *mean)).collect()
}
