//! What it would take to decide a comparison that was not decided: more items, or more seeds.
//!
//! For a two-sided test at level α with power 1 − β, a difference δ of which one observation has the variance σ² takes
//! `n = (z(1 − α/2) + z(1 − β))² σ² / δ² + c · z(1 − α/2)²` observations, where `c` is ½ for one sample of differences and
//! ¼ for each of two samples, whose variances are added (Guenther, 1981, *The American Statistician* 35; the second term
//! stands for what a t-test takes more than a normal one). δ is the difference that was seen, which may itself be chance:
//! the numbers tell what it would take to see such a difference, not that there is one.

use super::{
    data::Gain,
    holm::standard_error,
    metric::{MetricFormat, sparsity_title},
    verdict::{correction, is_decided},
    view::{Column, ReportView},
};
use espalier_sdk::Sparsity;
use serde::Serialize;

/// The chance of deciding for a difference that there is.
const POWER: f64 = 0.8;

/// The chance of deciding for a difference that there is not, over all comparisons.
const LEVEL: f64 = 0.05;

/// More than this is not worth a number.
const MOST: f64 = 1e7;

/// Comparisons of one model and sparsity that were not decided.
#[derive(Serialize)]
pub(crate) struct Undecided<'a> {
    pub(crate) model: &'a str,
    pub(crate) sparsity: Sparsity,
    pub(crate) title: String,
    pub(crate) comparisons: Vec<UndecidedComparison>,
}

/// A comparison, and what it would take to decide it.
#[derive(Serialize)]
pub(crate) struct UndecidedComparison {
    /// What was compared.
    pub(crate) what: String,
    /// The difference that was seen.
    pub(crate) seen: String,
    /// What it would take.
    pub(crate) needed: String,
}

/// The comparisons of calibration sets that were not decided, with what it would take.
pub(crate) fn undecided<'a>(view: &ReportView<'a>) -> Vec<Undecided<'a>> {
    let holm = correction(view);
    let level = LEVEL / holm.comparisons.max(1) as f64;
    let mut groups = Vec::new();
    for &model in &view.models {
        for &sparsity in &view.sparsities {
            let own =
                view.report.gains.iter().filter(|gain| {
                    gain.model == model && gain.sparsity == sparsity && !is_decided(gain, holm)
                });
            let comparisons: Vec<_> = own.map(|gain| comparison(view, gain, level)).collect();
            if !comparisons.is_empty() {
                let title = format!("{} of weights pruned{}", sparsity_title(sparsity), view.of_model(model));
                groups.push(Undecided { model, sparsity, title, comparisons });
            }
        }
    }
    groups
}

/// The level and the power in words.
pub(crate) fn assumptions(view: &ReportView<'_>) -> String {
    let comparisons = match correction(view).comparisons {
        1 => "two-sided 5%".to_owned(),
        count => format!("two-sided 5% over all {count} comparisons (5%/{count} for each)"),
    };
    format!("with 80% power at {comparisons}")
}

fn comparison(view: &ReportView<'_>, gain: &Gain, level: f64) -> UndecidedComparison {
    let format = MetricFormat::of(gain.metric);
    let what =
        format!("{}, {} − {}, {} on {}", gain.method, gain.task, gain.plain, format.title, gain.evaluation);
    let seen = format.interval(gain.difference, gain.low, gain.high) + &format.difference_unit();
    let items =
        view.report.evaluations.iter().find(|one| one.name == gain.evaluation).map_or(0, |one| one.items);
    let error = standard_error(gain.low, gain.high);
    let by_items = needed(error * error * items as f64, gain.difference, level, 0.5);
    let by_seeds = spreads(view, gain)
        .and_then(|(plain, task)| needed(plain * plain + task * task, gain.difference, level, 0.25));
    let needed = match by_items {
        None => "no number of items or seeds would tell a difference this small.".to_owned(),
        Some(count) => {
            let seeds = match by_seeds {
                Some(seeds) => format!(
                    "; for the spread over draws alone, {} seeds each (now {})",
                    about(seeds),
                    gain.seeds
                ),
                None if gain.seeds < 2 => "; one seed tells nothing of the spread over draws".to_owned(),
                None => String::new(),
            };
            format!("would take {} items (now {items}){seeds}.", about(count))
        }
    };
    UndecidedComparison { what, seen, needed }
}

/// The standard deviations over seeds of the variants that are compared.
fn spreads(view: &ReportView<'_>, gain: &Gain) -> Option<(f64, f64)> {
    let column =
        Column { evaluation: &gain.evaluation, metric: gain.metric, format: MetricFormat::of(gain.metric) };
    let of = |set: &str| {
        let variant = view.pruned(&gain.model).find(|variant| {
            variant.method == Some(gain.method.as_str())
                && variant.sparsity == Some(gain.sparsity)
                && variant.cells.iter().any(|cell| cell.calibration.as_deref() == Some(set))
        });
        variant?.score(column)?.spread
    };
    Some((of(&gain.plain)?, of(&gain.task)?))
}

/// How many observations tell a difference from none, of which one has this variance; nothing where there is no difference,
/// or it would take more than anyone has.
fn needed(variance: f64, difference: f64, level: f64, correction: f64) -> Option<f64> {
    let z = quantile(1.0 - level / 2.0);
    let count = (z + quantile(POWER)).powi(2) * variance / (difference * difference) + correction * z * z;
    (count.is_finite() && count <= MOST).then(|| count.ceil().max(2.0))
}

/// The quantile of the normal distribution, by halving: where `erfc` says that so much lies below.
fn quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if libm::erfc(-middle / std::f64::consts::SQRT_2) / 2.0 < share {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// A count with two significant digits, rounded up.
fn about(count: f64) -> String {
    let unit = 10f64.powf((count.log10().floor() - 1.0).max(0.0));
    let rounded = (count / unit).ceil() * unit;
    if rounded < 100.0 { format!("{rounded:.0}") } else { format!("about {rounded:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        assert!((quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
        assert!((quantile(0.8) - 0.841_621_233_572_914).abs() < 1e-12);
        assert!(quantile(0.5).abs() < 1e-12);
    }

    /// The tables of Cohen (1988), and `power.t.test` of R: a t-test of two samples finds effects of 0.2, 0.5 and 0.8 standard
    /// deviations with 80% power at 5% in 394, 64 and 26 observations each; one of paired samples in 199, 34 and 15.
    #[test]
    fn numbers_are_those_of_the_tables() {
        let two = |effect| needed(2.0, effect, 0.05, 0.25).unwrap();
        assert_eq!([two(0.2), two(0.5), two(0.8)], [394.0, 64.0, 26.0]);
        let paired = |effect: f64| needed(1.0, -effect, 0.05, 0.5).unwrap();
        assert_eq!([paired(0.2), paired(0.5), paired(0.8)], [199.0, 34.0, 15.0]);
        // A stricter level takes more, no difference can be told, and no variance needs no more than two.
        assert!(needed(2.0, 0.5, 0.05 / 40.0, 0.25).unwrap() > 100.0);
        assert_eq!(needed(1.0, 0.0, 0.05, 0.5), None);
        assert_eq!(needed(1.0, f64::NAN, 0.05, 0.5), None);
        assert_eq!(needed(1.0, 1e-9, 0.05, 0.5), None);
        assert_eq!(needed(0.0, 1.0, 0.05, 0.25), Some(2.0));
    }

    #[test]
    fn counts_are_rounded_up() {
        assert_eq!(
            [about(3.0), about(64.0), about(394.0), about(12_345.0)],
            ["3", "64", "about 400", "about 13000"]
        );
    }
}
