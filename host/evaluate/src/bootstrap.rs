//! Means with their uncertainty, by resampling items (Efron & Tibshirani, 1993): percentile intervals of 95%.

use super::{EvaluateError, Metric, Result, number};
use espalier_sdk::Rng;
use serde::{Deserialize, Serialize};

/// Resamples of the items.
pub(super) const RESAMPLES: usize = 1000;

/// The seed of the resamples: the same for every metric and model, so that intervals compare.
pub(super) const SEED: u64 = 0;

/// A mean over items, with its 95% interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    #[serde(with = "number")]
    pub mean: f64,
    /// Lower end of the interval.
    #[serde(with = "number")]
    pub low: f64,
    /// Upper end of the interval.
    #[serde(with = "number")]
    pub high: f64,
    /// Items (for perplexity: windows or answers) it is the mean of.
    pub items: usize,
    /// The standard error, for what a task's definition measures by items that are right or not: their sample standard
    /// deviation by the square root of how many they are, as lm-evaluation-harness has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<f64>,
}

/// How two runs of the same items differ, with the 95% interval of the difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The second's mean less the first's.
    pub difference: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Items that were compared.
    pub items: usize,
}

/// An item's part in a mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The item's own value. For a perplexity, the item's perplexity.
    pub value: f64,
    /// The weight: 1, or the number of tokens that the value is a mean over.
    pub weight: f64,
}

/// The mean of a metric over items. A perplexity is `exp` of the mean loss of all tokens, so its mean is
/// not that of the items' perplexities.
pub fn mean(metric: Metric, scores: &[Score]) -> Mean {
    let (low, high) = interval(scores.len(), |items| over(metric, items.iter().map(|&item| scores[item])));
    let mean = over(metric, scores.iter().copied());
    let stderr =
        (metric.of_definition() && metric.higher_is_better()).then(|| standard_error(scores, mean)).flatten();
    Mean { mean, low, high, items: scores.len(), stderr }
}

/// A weighted sum of a metric's means over runs of the same items, such as the difference of one run from the
/// mean of several. All runs are resampled together, so that what makes an item hard for all does not widen
/// the interval.
///
/// # Errors
/// The runs have different numbers of items.
pub fn contrast(metric: Metric, terms: &[(f64, &[Score])]) -> Result<Difference> {
    let items = terms.first().map_or(0, |(_, scores)| scores.len());
    if let Some((_, other)) = terms.iter().find(|(_, scores)| scores.len() != items) {
        return Err(EvaluateError::Unpaired { metric, left: items, right: other.len() });
    }
    let sum = |items: &[usize]| {
        let terms =
            terms.iter().map(|(share, scores)| share * over(metric, items.iter().map(|&item| scores[item])));
        terms.sum()
    };
    let all: Vec<usize> = (0..items).collect();
    let (low, high) = interval(items, sum);
    Ok(Difference { difference: sum(&all), low, high, items })
}

fn standard_error(scores: &[Score], mean: f64) -> Option<f64> {
    let items = scores.len();
    let squares: f64 = scores.iter().map(|score| (score.value - mean).powi(2)).sum();
    (items > 1).then(|| (squares / (items - 1) as f64 / items as f64).sqrt())
}

pub(super) fn over(metric: Metric, scores: impl Iterator<Item = Score>) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for Score { value, weight } in scores {
        // Items of no weight have no value.
        if weight > 0.0 {
            sum += weight * if metric.is_perplexity() { value.ln() } else { value };
            weights += weight;
        }
    }
    let mean = sum / weights;
    if metric.is_perplexity() { mean.exp() } else { mean }
}

/// The middle 95% of a statistic over resamples of so many items.
fn interval(items: usize, statistic: impl Fn(&[usize]) -> f64) -> (f64, f64) {
    if items == 0 {
        return (f64::NAN, f64::NAN);
    }
    let mut rng = Rng::new(SEED);
    let mut drawn = vec![0; items];
    let mut found: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.iter_mut().for_each(|item| *item = rng.below(items));
            statistic(&drawn)
        })
        // A resample may hold nothing but items of no weight.
        .filter(|found| !found.is_nan())
        .collect();
    found.sort_unstable_by(f64::total_cmp);
    (quantile(&found, 0.025), quantile(&found, 0.975))
}

/// A quantile of sorted values, linear between two of them.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    // Equal ends may be infinite.
    if low == high { low } else { low + (high - low) * place.fract() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(values: &[f64]) -> Vec<Score> {
        values.iter().map(|&value| Score { value, weight: 1.0 }).collect()
    }

    #[test]
    fn the_interval_is_that_of_the_normal_approximation() {
        // 400 items, 30% of them right: a standard error of 0.0229.
        let values: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 10 < 3))).collect();
        let found = mean(Metric::ExactMatch, &scores(&values));
        assert!((found.mean - 0.3).abs() < 1e-12 && found.items == 400);
        assert!((found.low - 0.255).abs() < 0.006 && (found.high - 0.345).abs() < 0.006, "{found:?}");
        assert_eq!(mean(Metric::ExactMatch, &scores(&values)), found);
    }

    #[test]
    fn equal_items_have_no_spread() {
        let found = mean(Metric::F1, &scores(&[0.25; 7]));
        assert_eq!(found, Mean { mean: 0.25, low: 0.25, high: 0.25, items: 7, stderr: None });
        assert!(mean(Metric::F1, &[]).mean.is_nan());
    }

    #[test]
    fn perplexity_is_over_tokens() {
        let scores = [Score { value: 2.0, weight: 3.0 }, Score { value: 16.0, weight: 1.0 }];
        // (3 ln 2 + 4 ln 2) / 4
        assert!((mean(Metric::AnswerPerplexity, &scores).mean - 2f64.powf(1.75)).abs() < 1e-12);
        let empty = [scores[0], Score { value: f64::NAN, weight: 0.0 }];
        assert!((mean(Metric::AnswerPerplexity, &empty).mean - 2.0).abs() < 1e-12);
    }

    #[test]
    fn pairs_cancel_what_items_have_in_common() {
        let difference = |from: &[Score], to: &[Score]| contrast(Metric::F1, &[(-1.0, from), (1.0, to)]);
        let from: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let to: Vec<f64> = from.iter().map(|value| value + 0.125).collect();
        let found = difference(&scores(&from), &scores(&to)).unwrap();
        assert!(
            [found.difference, found.low, found.high].iter().all(|x| (x - 0.125).abs() < 1e-12),
            "{found:?}"
        );
        let found = difference(&scores(&from), &scores(&from[1..]));
        assert!(matches!(found, Err(EvaluateError::Unpaired { left: 100, right: 99, .. })));
        // Shuffled, nothing is in common: twice the variance.
        let mut other = from.clone();
        Rng::new(5).shuffle(&mut other);
        let found = difference(&scores(&from), &scores(&other)).unwrap();
        assert!(found.low < -0.08 && found.high > 0.08, "{found:?}");
    }
}
