//! Holm's correction for several comparisons (1979): the chance that any of them is taken for a difference that there is not
//! stays below a level, however they depend on each other.

/// The chance of at least one difference that is none.
const LEVEL: f64 = 0.05;

/// The distance of an end of a 95% interval from its middle, in standard errors.
const END: f64 = 1.959_963_984_540_054;

/// Which comparisons stand after the correction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holm {
    /// How many were made.
    pub(crate) comparisons: usize,
    /// The largest p-value that stands; none does where it is below 0.
    largest: f64,
}

impl Holm {
    /// The correction for comparisons with these p-values.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len();
        let stands = |(place, p): &(usize, &f64)| **p <= LEVEL / (count - place) as f64;
        let largest = values.iter().enumerate().take_while(stands).last().map_or(-1.0, |(_, p)| *p);
        Self { comparisons: count, largest }
    }

    /// Whether a comparison with this p-value stands.
    pub(crate) fn stands(&self, p: f64) -> bool {
        p <= self.largest
    }
}

/// The standard error that a 95% interval tells.
pub(super) fn standard_error(low: f64, high: f64) -> f64 {
    (high - low) / (2.0 * END)
}

/// The two-sided p-value of no difference, by the normal distribution with the standard error that the interval tells. One where
/// the interval is no interval.
pub(super) fn p_value(difference: f64, low: f64, high: f64) -> f64 {
    let error = standard_error(low, high);
    let distance = difference.abs() / error;
    match () {
        () if !error.is_finite() || !difference.is_finite() || difference == 0.0 => 1.0,
        () => libm::erfc(distance / std::f64::consts::SQRT_2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_the_normal_distribution() {
        // An interval that ends at 0 is one of p = 0.05; twice the distance is scipy's 2 * norm.sf(2 * 1.959964).
        assert!((p_value(1.0, 0.0, 2.0) - 0.05).abs() < 1e-12);
        assert!((p_value(-2.0, -3.0, -1.0) - 8.857_e-5).abs() < 1e-7);
        assert_eq!(p_value(0.0, 0.0, 0.0), 1.0);
        assert_eq!(p_value(0.5, 0.5, 0.5), 0.0);
        assert_eq!(p_value(f64::NAN, -1.0, 1.0), 1.0);
    }

    #[test]
    fn steps_go_down_until_one_does_not_stand() {
        // p = 0.0001, 0.013, 0.04, 0.05: against 0.0125, 0.0167, 0.025, …: two stand, and what is behind a miss does not.
        let values = [0.05, 0.0001, 0.04, 0.013];
        let holm = Holm::of(values.into_iter());
        assert_eq!(holm.comparisons, 4);
        assert_eq!(values.map(|p| holm.stands(p)), [false, true, false, true]);
        // Alone, the third would stand.
        assert!(Holm::of(values[2..3].iter().copied()).stands(0.04));
        assert!(!Holm::of([].into_iter()).stands(0.0));
    }
}
