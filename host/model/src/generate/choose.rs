//! The next token of a sequence.

use crate::{ModelError, Result};
use espalier_sdk::Rng;
use std::collections::BTreeSet;

/// How tokens are drawn, step by step as in transformers: the temperature, then `top_k`, then `top_p`, then `min_p`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// The divisor of the logits, above 0.
    pub temperature: f64,
    /// Only tokens as likely as the one at this place, from 1.
    pub top_k: Option<usize>,
    /// Only the most likely tokens that together have this probability; in (0, 1].
    pub top_p: Option<f64>,
    /// Only tokens that have at least this share of the most likely one's probability; in [0, 1].
    pub min_p: Option<f64>,
    /// The seed of every draw.
    pub seed: u64,
}

impl Sampling {
    /// Checks the settings.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |message: String| Err(ModelError::Sampling(message));
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return bad(format!("a temperature of {}: it must be above 0", self.temperature));
        }
        if self.top_k == Some(0) {
            return bad("top-k 0 leaves no token".to_owned());
        }
        if let Some(p) = self.top_p.filter(|&p| !(p > 0.0 && p <= 1.0)) {
            return bad(format!("top-p {p} is not above 0 and at most 1"));
        }
        match self.min_p {
            Some(p) if !(0.0..=1.0).contains(&p) => bad(format!("min-p {p} is not from 0 to 1")),
            _ => Ok(()),
        }
    }

    /// The tokens that may be drawn, the most likely first, and their weights: shares of the first one's probability.
    fn candidates(&self, logits: &[f32]) -> (Vec<u32>, Vec<f64>) {
        // The most likely first, of equals the lowest.
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let descending =
            |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        if let Some(k) = self.top_k.filter(|&k| k < order.len()) {
            let (_, kth, _) = order.select_nth_unstable_by(k - 1, descending);
            let least = logits[*kth as usize];
            // As likely as the last of them is as good.
            order = (0..logits.len() as u32).filter(|&token| logits[token as usize] >= least).collect();
        }
        order.sort_unstable_by(descending);
        let logit = |token: u32| f64::from(logits[token as usize]) / self.temperature;
        let highest = logit(order[0]);
        let mut weights: Vec<f64> = order.iter().map(|&token| (logit(token) - highest).exp()).collect();
        if let Some(p) = self.top_p {
            let enough = p * weights.iter().sum::<f64>();
            let mut before = 0.0;
            let kept = weights.iter().take_while(|&&weight| {
                let keep = before < enough;
                before += weight;
                keep
            });
            let kept = kept.count().max(1);
            weights.truncate(kept);
        }
        if let Some(p) = self.min_p {
            weights.truncate(weights.partition_point(|&weight| weight >= p));
        }
        order.truncate(weights.len());
        (order, weights)
    }

    fn draw(&self, logits: &[f32], rng: &mut Rng) -> u32 {
        let (order, weights) = self.candidates(logits);
        let mut left = rng.unit() * weights.iter().sum::<f64>();
        for (&token, weight) in order.iter().zip(&weights) {
            left -= weight;
            if left < 0.0 {
                return token;
            }
        }
        // Rounding may leave a remainder.
        order[weights.len() - 1]
    }
}

/// Checks a repetition penalty.
pub(super) fn check_penalty(penalty: f64) -> Result<()> {
    if penalty > 0.0 && penalty.is_finite() {
        return Ok(());
    }
    Err(ModelError::Sampling(format!("a repetition penalty of {penalty}: it must be above 0")))
}

/// Makes tokens that occur before less likely, each once however often it occurs, as transformers does: logits above 0 are
/// divided by the penalty, those below multiplied.
pub(super) fn penalize<'a>(logits: &mut [f32], before: impl IntoIterator<Item = &'a u32>, penalty: f64) {
    if penalty == 1.0 {
        return;
    }
    let penalty = penalty as f32;
    for token in before.into_iter().collect::<BTreeSet<_>>() {
        let logit = &mut logits[*token as usize];
        *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
    }
}

/// The token that follows; none where a logit is not a number, or none is finite.
pub(super) fn next(logits: &[f32], sampling: Option<&Sampling>, rng: &mut Rng) -> Option<u32> {
    let greedy = most_likely(logits)?;
    Some(match sampling {
        None => greedy,
        Some(sampling) => sampling.draw(logits, rng),
    })
}

fn most_likely(logits: &[f32]) -> Option<u32> {
    let mut best = None;
    let mut highest = f32::NEG_INFINITY;
    let mut broken = false;
    for (token, &logit) in logits.iter().enumerate() {
        broken |= logit.is_nan();
        if logit > highest {
            (best, highest) = (Some(token as u32), logit);
        }
    }
    best.filter(|_| !broken && highest.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, path::Path};

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -4.0];

    fn sampling(top_k: Option<usize>, top_p: Option<f64>) -> Sampling {
        Sampling { temperature: 1.0, top_k, top_p, min_p: None, seed: 0 }
    }

    fn shares(sampling: &Sampling) -> [f64; 5] {
        let mut rng = Rng::new(sampling.seed);
        let mut counts = [0.0; 5];
        for _ in 0..20_000 {
            counts[next(&LOGITS, Some(sampling), &mut rng).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn of_equals_the_lowest_is_taken() {
        assert_eq!(next(&LOGITS, None, &mut Rng::new(0)), Some(1));
        assert_eq!(next(&[0.0, f32::NAN], None, &mut Rng::new(0)), None);
        assert_eq!(next(&[f32::NEG_INFINITY; 2], None, &mut Rng::new(0)), None);
    }

    #[test]
    fn draws_follow_the_distribution() {
        for temperature in [0.5, 1.0, 2.0] {
            let found = shares(&Sampling { temperature, ..sampling(None, None) });
            let weights = LOGITS.map(|logit| (f64::from(logit) / temperature).exp());
            for (found, weight) in found.into_iter().zip(weights) {
                assert!(
                    (found - weight / weights.iter().sum::<f64>()).abs() < 0.015,
                    "{found} at {temperature}"
                );
            }
        }
    }

    #[test]
    fn top_k_keeps_equals() {
        let found = shares(&sampling(Some(1), None));
        assert!(found[1] > 0.4 && found[3] > 0.4 && found[1] + found[3] > 0.999, "{found:?}");
        let found = shares(&sampling(Some(3), None));
        assert!(found[2] > 0.1 && found[0] == 0.0, "{found:?}");
    }

    #[test]
    fn top_p_keeps_what_is_needed() {
        // The two best have 0.40 each, the third 0.15.
        let kept = |p| shares(&sampling(None, Some(p))).map(|share| share > 0.0);
        assert_eq!(kept(0.3), [false, true, false, false, false]);
        assert_eq!(kept(0.5), [false, true, false, true, false]);
        assert_eq!(kept(0.9), [false, true, true, true, false]);
    }

    #[test]
    fn settings_are_checked() {
        assert!(sampling(Some(1), Some(1.0)).check().is_ok());
        assert!(sampling(Some(0), None).check().is_err());
        assert!(sampling(None, Some(0.0)).check().is_err());
        assert!(Sampling { temperature: 0.0, ..sampling(None, None) }.check().is_err());
        for (min_p, fits) in [(0.0, true), (1.0, true), (1.1, false), (f64::NAN, false)] {
            let sampling = Sampling { min_p: Some(min_p), ..sampling(None, None) };
            assert_eq!(sampling.check().is_ok(), fits, "{min_p}");
        }
        for (penalty, fits) in [(1.3, true), (0.5, true), (0.0, false), (f64::INFINITY, false)] {
            assert_eq!(check_penalty(penalty).is_ok(), fits, "{penalty}");
        }
    }

    #[derive(serde::Deserialize)]
    struct Recorded {
        before: Vec<u32>,
        logits: Vec<f32>,
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        repetition_penalty: f64,
        temperature: f64,
        top_k: Option<usize>,
        top_p: Option<f64>,
        min_p: Option<f64>,
        probabilities: BTreeMap<u32, f64>,
    }

    /// Tokens that may be drawn and their probabilities, after the processors of transformers
    /// (`tests/scripts/make_sampling.py`).
    #[test]
    fn candidates_are_those_of_transformers() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sampling.json");
        let recorded: Vec<Recorded> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut compared = 0;
        for (vector, Recorded { before, logits, cases }) in recorded.iter().enumerate() {
            for (number, case) in cases.iter().enumerate() {
                let &Case { repetition_penalty, temperature, top_k, top_p, min_p, .. } = case;
                let mut logits = logits.clone();
                penalize(&mut logits, before, repetition_penalty);
                let (order, weights) =
                    Sampling { temperature, top_k, top_p, min_p, seed: 0 }.candidates(&logits);
                let total: f64 = weights.iter().sum();
                let kept: BTreeSet<_> = order.iter().collect();
                assert_eq!(kept, case.probabilities.keys().collect(), "vector {vector}, case {number}");
                for (token, weight) in order.iter().zip(&weights) {
                    let (found, expected) = (weight / total, case.probabilities[token]);
                    assert!((found - expected).abs() < 1e-5, "{found} and {expected}: {vector}, {number}");
                }
                compared += 1;
            }
        }
        assert!(compared > 100);
    }
}
