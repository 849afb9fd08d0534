//! How much of an ability a pruned model keeps: its scores as a share of the dense model's, each without what chance gives.

use super::{
    EvaluateError, Item, Metric, Result, Score,
    bootstrap::{RESAMPLES, SEED, over, quantile},
    number,
};
use espalier_sdk::Rng;
use serde::{Deserialize, Serialize};

/// The share of resamples in which the dense model may be no better than chance: beyond it, a share of what it can do has no
/// interval.
const BEYOND: f64 = 0.025;

/// An evaluation's part in a retention.
#[derive(Debug)]
pub struct RetentionPart<'a> {
    /// The metric, of which more is better.
    pub metric: Metric,
    /// What guessing would score.
    pub chance: f64,
    /// The dense model's items.
    pub dense: &'a [Score],
    /// The same items of pruned models, which are averaged.
    pub pruned: Vec<&'a [Score]>,
}

/// A share of what the dense model can do, with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Retention {
    /// The sum over evaluations of the pruned models' means less chance, divided by the same sum of the dense model.
    #[serde(with = "number")]
    pub share: f64,
    /// Lower end of the interval.
    #[serde(with = "number")]
    pub low: f64,
    /// Upper end of the interval.
    #[serde(with = "number")]
    pub high: f64,
    /// Items of all evaluations.
    pub items: usize,
}

impl Retention {
    /// The share in percent.
    pub fn percent(&self) -> String {
        format!("{:.1}%", 100.0 * self.share)
    }

    /// The interval in percent, if there is one.
    pub fn interval(&self) -> Option<String> {
        let known = self.low.is_finite() && self.high.is_finite();
        known.then(|| format!("[{:.1}, {:.1}]", 100.0 * self.low, 100.0 * self.high))
    }
}

/// What guessing would score on these items: one of as many as each has choices; nothing where there are none.
pub fn chance(metric: Metric, items: &[Item]) -> f64 {
    let of_item = |item: &Item| if item.choices.len() > 1 { 1.0 / item.choices.len() as f64 } else { 0.0 };
    if !metric.of_definition() || items.is_empty() {
        return 0.0;
    }
    items.iter().map(of_item).sum::<f64>() / items.len() as f64
}

/// The retention over evaluations: items of each are resampled together for all models. It is no number where the dense model
/// is no better than chance, and has no interval where that is so in more than one of forty resamples.
///
/// # Errors
/// Models with different numbers of items in an evaluation.
pub fn retention(parts: &[RetentionPart]) -> Result<Retention> {
    for part in parts {
        if let Some(other) = part.pruned.iter().find(|scores| scores.len() != part.dense.len()) {
            let (left, right) = (part.dense.len(), other.len());
            return Err(EvaluateError::Unpaired { metric: part.metric, left, right });
        }
    }
    let share = |drawn: &[Vec<usize>]| {
        let (mut kept, mut whole) = (0.0, 0.0);
        for (part, drawn) in parts.iter().zip(drawn) {
            let mean = |scores: &[Score]| over(part.metric, drawn.iter().map(|&item| scores[item]));
            whole += mean(part.dense) - part.chance;
            let pruned: f64 = part.pruned.iter().map(|scores| mean(scores)).sum();
            kept += pruned / part.pruned.len() as f64 - part.chance;
        }
        if whole > 0.0 { kept / whole } else { f64::NAN }
    };
    let mut drawn: Vec<Vec<usize>> = parts.iter().map(|part| (0..part.dense.len()).collect()).collect();
    let whole = share(&drawn);
    let mut rng = Rng::new(SEED);
    let mut found: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for items in drawn.iter_mut().filter(|items| !items.is_empty()) {
                let count = items.len();
                items.iter_mut().for_each(|item| *item = rng.below(count));
            }
            share(&drawn)
        })
        .filter(|found| !found.is_nan())
        .collect();
    found.sort_unstable_by(f64::total_cmp);
    let known = whole.is_finite() && found.len() as f64 >= (1.0 - BEYOND) * RESAMPLES as f64;
    let end = |share| if known { quantile(&found, share) } else { f64::NAN };
    let items = parts.iter().map(|part| part.dense.len()).sum();
    Ok(Retention { share: whole, low: end(0.025), high: end(0.975), items })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(right: usize, of: usize) -> Vec<Score> {
        (0..of).map(|item| Score { value: f64::from(u8::from(item < right)), weight: 1.0 }).collect()
    }

    fn part<'a>(dense: &'a [Score], pruned: &[&'a [Score]], chance: f64) -> RetentionPart<'a> {
        RetentionPart { metric: Metric::Acc, chance, dense, pruned: pruned.to_vec() }
    }

    #[test]
    fn chance_is_taken_off_both() {
        let (dense, half, chance) = (scores(300, 400), scores(200, 400), scores(100, 400));
        let share = |pruned: &[&[Score]]| retention(&[part(&dense, pruned, 0.25)]).unwrap();
        assert!((share(&[&dense]).share - 1.0).abs() < 1e-12);
        assert!((share(&[&half]).share - 0.5).abs() < 1e-12);
        assert!((share(&[&chance]).share).abs() < 1e-12);
        // Seeds are averaged.
        assert!((share(&[&dense, &half]).share - 0.75).abs() < 1e-12);
        let found = share(&[&half]);
        assert!(found.low < 0.5 && 0.5 < found.high && found.low > 0.35 && found.high < 0.65, "{found:?}");
        // Without chance, and of two evaluations, sums are divided: (0.5 + 0.25) / (0.75 + 0.5).
        let other = scores(50, 100);
        let less = scores(25, 100);
        let found = retention(&[part(&dense, &[&half], 0.0), part(&other, &[&less], 0.0)]).unwrap();
        assert!((found.share - 0.6).abs() < 1e-12 && found.items == 500, "{found:?}");
    }

    #[test]
    fn a_model_at_chance_has_nothing_to_keep() {
        let (dense, pruned) = (scores(25, 100), scores(20, 100));
        let found = retention(&[part(&dense, &[&pruned], 0.25)]).unwrap();
        assert!(found.share.is_nan() && found.low.is_nan(), "{found:?}");
        // A little better than chance: a share, but no interval.
        let dense = scores(27, 100);
        let found = retention(&[part(&dense, &[&pruned], 0.25)]).unwrap();
        assert!(found.share.is_finite() && found.low.is_nan() && found.high.is_nan(), "{found:?}");
        assert!(retention(&[part(&dense, &[&scores(1, 99)], 0.25)]).is_err());
    }
}
