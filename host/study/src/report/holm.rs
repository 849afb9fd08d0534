//! Holm's correction for several comparisons (1979): the chance that any of them is taken for a difference that there is not
//! stays below a level, however they depend on each other.

use super::data::Gain;

/// The chance of at least one difference that is none.
const LEVEL: f64 = 0.05;

/// The distance of an end of a 95% interval from its middle, in standard errors.
const END: f64 = 1.959_963_984_540_054;

/// Which comparisons stand after the correction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holm {
    /// How many were made.
    pub(super) comparisons: usize,
    /// The largest p-value that stands; none does where it is below 0.
    largest: f64,
}

impl Holm {
    /// The correction for all of these comparisons.
    pub(super) fn of<'a>(comparisons: impl Iterator<Item = &'a Gain>) -> Self {
        let mut values: Vec<f64> = comparisons.map(p_value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len();
        let stands = |(place, p): &(usize, &f64)| **p <= LEVEL / (count - place) as f64;
        let largest = values.iter().enumerate().take_while(stands).last().map_or(-1.0, |(_, p)| *p);
        Self { comparisons: count, largest }
    }

    /// Whether a comparison stands.
    pub(super) fn stands(&self, gain: &Gain) -> bool {
        p_value(gain) <= self.largest
    }
}

/// The two-sided p-value of no difference, by the normal distribution with the standard error that the interval tells. One where
/// the interval is no interval.
fn p_value(gain: &Gain) -> f64 {
    let error = (gain.high - gain.low) / (2.0 * END);
    let distance = gain.difference.abs() / error;
    match () {
        () if !error.is_finite() || !gain.difference.is_finite() || gain.difference == 0.0 => 1.0,
        () => libm::erfc(distance / std::f64::consts::SQRT_2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_evaluate::Metric;
    use espalier_sdk::Sparsity;

    fn gain(difference: f64, half: f64) -> Gain {
        Gain {
            model: String::new(),
            method: String::new(),
            against: None,
            sparsity: Sparsity::Ratio(0.5),
            plain: String::new(),
            task: String::new(),
            evaluation: String::new(),
            metric: Metric::Acc,
            difference,
            low: difference - half,
            high: difference + half,
            seeds: 1,
        }
    }

    #[test]
    fn p_values_are_those_of_the_normal_distribution() {
        // An interval that ends at 0 is one of p = 0.05; twice the distance is scipy's 2 * norm.sf(2 * 1.959964).
        assert!((p_value(&gain(1.0, 1.0)) - 0.05).abs() < 1e-12);
        assert!((p_value(&gain(-2.0, 1.0)) - 8.857_e-5).abs() < 1e-7);
        assert_eq!(p_value(&gain(0.0, 0.0)), 1.0);
        assert_eq!(p_value(&gain(0.5, 0.0)), 0.0);
        assert_eq!(p_value(&gain(f64::NAN, 1.0)), 1.0);
    }

    #[test]
    fn steps_go_down_until_one_does_not_stand() {
        // p = 0.0001, 0.013, 0.04, 0.05: against 0.0125, 0.0167, 0.025, …: two stand, and what is behind a miss does not.
        let halves = [1.0 / 1.985, 1.0 / 1.267, 1.0 / 1.048, 1.0];
        let gains: Vec<_> = halves.iter().map(|&half| gain(1.0, half)).collect();
        let holm = Holm::of(gains.iter());
        assert_eq!(holm.comparisons, 4);
        assert_eq!(
            gains.iter().map(|gain| holm.stands(gain)).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        // Alone, the last but one would stand.
        assert!(Holm::of(gains[2..3].iter()).stands(&gains[2]));
        assert!(!Holm::of([].iter()).stands(&gains[0]));
    }
}
