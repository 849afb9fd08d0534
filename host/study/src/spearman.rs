//! Spearman's rank correlation, with the interval of Bonett and Wright (2000).

/// The distance of an end of a 95% interval from its middle, in standard errors.
const END: f64 = 1.959_963_984_540_054;

/// The rank correlation of pairs: Pearson's of their ranks, of which equals share the mean. Nothing where all values
/// of one side are equal, or not all are finite.
pub(crate) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let x = ranks(pairs.iter().map(|pair| pair.0))?;
    let y = ranks(pairs.iter().map(|pair| pair.1))?;
    let mean = (pairs.len() as f64 + 1.0) / 2.0;
    let sum = |of: &dyn Fn(usize) -> f64| (0..pairs.len()).map(of).sum::<f64>();
    let both = sum(&|at| (x[at] - mean) * (y[at] - mean));
    let spreads = sum(&|at| (x[at] - mean).powi(2)) * sum(&|at| (y[at] - mean).powi(2));
    (spreads > 0.0).then(|| (both / spreads.sqrt()).clamp(-1.0, 1.0))
}

/// The ranks of values, from 1.
fn ranks(values: impl Iterator<Item = f64>) -> Option<Vec<f64>> {
    let values: Vec<f64> = values.collect();
    if values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    Some(values.iter().map(rank).collect())
}

/// A correlation over so many pairs, by Fisher's transformation: where it stands and its standard error,
/// `√((1 + ρ²/2) / (n − 3))` (Bonett & Wright, 2000, *Psychometrika* 65). Nothing of fewer than four pairs, or where
/// the order of both sides is the same or reversed, of which nothing tells the error.
fn transformed(rho: f64, pairs: usize) -> Option<(f64, f64)> {
    let error = ((1.0 + rho * rho / 2.0) / (pairs as f64 - 3.0)).sqrt();
    (pairs > 3 && rho.abs() < 1.0).then_some((rho.atanh(), error))
}

/// The 95% interval of a correlation over so many pairs.
pub(crate) fn interval(rho: f64, pairs: usize) -> Option<(f64, f64)> {
    let (middle, error) = transformed(rho, pairs)?;
    Some(((middle - END * error).tanh(), (middle + END * error).tanh()))
}

/// The two-sided p-value of no correlation: below 0.05 where the interval is without 0.
pub(crate) fn p_value(rho: f64, pairs: usize) -> f64 {
    match transformed(rho, pairs) {
        Some((middle, error)) => libm::erfc(middle.abs() / error / std::f64::consts::SQRT_2),
        // One of the n! orders, and its reverse.
        None if rho.abs() == 1.0 => (1..=pairs).fold(2.0, |p, factor| p / factor as f64).min(1.0),
        None => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::{fs, path::Path};

    #[derive(Deserialize)]
    struct Recorded {
        x: Vec<f64>,
        y: Vec<f64>,
        rho: Option<f64>,
    }

    /// Against `scipy.stats.spearmanr`.
    #[test]
    fn correlations_are_as_recorded() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/spearman.json");
        let rows: Vec<Recorded> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert!(rows.len() > 40);
        for row in rows {
            let pairs: Vec<_> = row.x.iter().copied().zip(row.y.iter().copied()).collect();
            match (spearman(&pairs), row.rho) {
                (Some(found), Some(rho)) => {
                    assert!((found - rho).abs() < 1e-12, "{pairs:?}: {found}, not {rho}")
                }
                (found, rho) => assert_eq!(found, rho, "{pairs:?}"),
            }
        }
    }

    /// The example of `ci.spear` in the R package statpsych, of the author of the interval.
    #[test]
    fn the_interval_is_that_of_its_author() {
        let y = [21., 4., 9., 12., 35., 18., 10., 22., 24., 1., 6., 8., 13., 16., 19.];
        let x = [67., 28., 30., 28., 52., 40., 25., 37., 44., 10., 14., 20., 28., 40., 51.];
        let pairs: Vec<_> = x.into_iter().zip(y).collect();
        let rho = spearman(&pairs).unwrap();
        assert!((rho - 0.869_963_9).abs() < 1e-7, "{rho}");
        let (low, high) = interval(rho, pairs.len()).unwrap();
        assert!((low - 0.584_095_1).abs() < 1e-6 && (high - 0.963_829_7).abs() < 1e-6, "[{low}, {high}]");
    }

    #[test]
    fn few_pairs_tell_nothing() {
        assert_eq!(interval(0.5, 3), None);
        assert_eq!(p_value(0.5, 3), 1.0);
        assert_eq!(interval(1.0, 12), None);
        assert_eq!(p_value(1.0, 3), 1.0 / 3.0);
        let excludes_0 = |rho: f64| interval(rho, 12).is_some_and(|(low, high)| low > 0.0 || high < 0.0);
        for rho in [0.3, 0.55, 0.6, 0.9, -0.62] {
            assert_eq!(p_value(rho, 12) < 0.05, excludes_0(rho), "{rho}");
        }
        assert_eq!(spearman(&[]), None);
        assert_eq!(spearman(&[(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)]), None);
    }
}
