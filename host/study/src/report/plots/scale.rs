//! Where a value stands on an axis, and the round numbers that label it.

use super::Tick;
use crate::report::metric::number;

/// An axis from one value to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// A linear axis over all finite values, with some room around them.
    pub(super) fn covering(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 1.0));
        let room = if high > low { (high - low) * 0.06 } else { (high.abs() * 0.1).max(0.5) };
        Self { low: low - room, high: high + room, logarithmic: false }
    }

    /// A logarithmic axis where the values are positive and span a factor of ten, else a linear one.
    pub(super) fn positive(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<_> = values.into_iter().collect();
        match range(values.iter().copied()) {
            Some((low, high)) if low > 0.0 && high / low >= 10.0 => {
                let room = (high / low).powf(0.06);
                Self { low: low / room, high: high * room, logarithmic: true }
            }
            _ => Self::covering(values),
        }
    }

    /// An axis with given ends.
    pub(super) fn between(low: f64, high: f64) -> Self {
        Self { low, high, logarithmic: false }
    }

    /// Where a value stands, in percent of the axis' length; nothing for what is not finite.
    pub(super) fn percent(&self, value: f64) -> Option<f64> {
        let share = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.is_finite().then_some(share * 100.0)
    }

    /// Round values inside the axis, at most `most` of them, with their labels.
    pub(super) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        if self.logarithmic {
            return self.logarithmic_ticks(most);
        }
        let mut step = 10f64.powf(((self.high - self.low) / most as f64).log10().floor());
        let mut factors = [2.0, 2.5, 2.0].into_iter().cycle();
        while ((self.high / step).floor() - (self.low / step).ceil()) as usize + 1 > most {
            step *= factors.next().unwrap_or(2.0);
        }
        let decimals = decimals(step);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last)
            .map(|index| index as f64 * step)
            .map(|value| (value, number(value, decimals)))
            .collect()
    }

    /// Labelled values as places on the axis.
    pub(super) fn places(&self, ticks: &[(f64, String)]) -> Vec<Tick> {
        let place =
            |(value, label): &(f64, String)| Some(Tick { at: self.percent(*value)?, label: label.clone() });
        ticks.iter().filter_map(place).collect()
    }

    fn logarithmic_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let inside = |value: &f64| (self.low..=self.high).contains(value);
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        for (every, digits) in [(1, &[1.0, 2.0, 5.0][..]), (1, &[1.0]), (2, &[1.0]), (4, &[1.0])] {
            let powers = decades.clone().filter(|power| power.rem_euclid(every) == 0);
            let values = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
            let values: Vec<_> = values.filter(inside).collect();
            if values.len() <= most {
                return values.into_iter().map(|value| (value, plain(value))).collect();
            }
        }
        Vec::new()
    }
}

/// The smallest and the largest finite value.
fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

/// Decimals that tell ticks of a step apart.
fn decimals(step: f64) -> usize {
    (0..9)
        .find(|&decimals| {
            let scaled = step * 10f64.powi(decimals);
            (scaled - scaled.round()).abs() < 1e-6 * scaled && scaled.round() >= 1.0
        })
        .unwrap_or(9) as usize
}

fn plain(value: f64) -> String {
    if (0.001..1e5).contains(&value) {
        number(value, decimals(value))
    } else {
        format!("{value:.0e}").replace('-', "−")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, most: usize) -> Vec<String> {
        scale.ticks(most).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(Scale::between(-0.3, 10.2), 6), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(Scale::between(-0.21, 0.12), 5), ["−0.2", "−0.1", "0.0", "0.1"]);
        assert_eq!(labels(Scale::between(0.0, 0.0031), 4), ["0.000", "0.001", "0.002", "0.003"]);
        assert_eq!(labels(Scale::positive([5.0, 20_000.0]), 5), ["10", "100", "1000", "10000"]);
        assert_eq!(labels(Scale::positive([5.0, 60.0]), 5), ["5", "10", "20", "50"]);
    }

    #[test]
    fn what_is_not_finite_has_no_place() {
        let scale = Scale::covering([f64::NAN, 1.0, f64::INFINITY, 3.0]);
        assert_eq!(scale, Scale::covering([1.0, 3.0]));
        assert_eq!(scale.percent(2.0), Some(50.0));
        assert_eq!(scale.percent(f64::NAN), None);
        assert_eq!(scale.percent(f64::INFINITY), None);
        assert!(Scale::covering([]).ticks(5).len() > 1);
        assert!(Scale::covering([4.0]).percent(4.0).is_some());
    }
}
