//! What a page says of calibration data, of comparisons that were not decided, and of what is missing.

use super::{
    super::{Correlation, CorrelationPoint, MeasuredProperty, Outcome, Property},
    tests::{gain, render, report, section, text},
    *,
};
use espalier_evaluate::Metric;
use espalier_sdk::Sparsity;

fn correlation(sets: usize, rho: Option<f64>, stands: bool) -> Correlation {
    let point = |set: usize| CorrelationPoint {
        calibration: if set.is_multiple_of(2) { "C4" } else { "Alpaca" }.into(),
        property: set as f64,
        outcome: 0.1 * set as f64,
    };
    Correlation {
        model: "tiny".into(),
        method: "Wanda".into(),
        sparsity: Sparsity::Ratio(0.5),
        property: Property::Digits,
        outcome: Outcome::Score { evaluation: "alpaca".into(), metric: Metric::ExactMatch },
        points: (0..sets).map(point).collect(),
        rho,
        interval: rho.map(|_| (-0.9, -0.2)),
        stands,
    }
}

#[test]
fn properties_are_shown_and_claimed_of_many_sets_alone() {
    let without = render(&report());
    assert!(!without.contains("Properties of calibration data"));
    let measured = |calibration: &str, seed, value| MeasuredProperty {
        model: "tiny".into(),
        calibration: calibration.into(),
        seed,
        property: Property::Digits,
        evaluation: None,
        value,
    };
    let properties = vec![measured("C4", 0, 0.01), measured("C4", 1, 0.03), measured("Alpaca", 0, 0.5)];
    let page = |correlation| {
        render(&Report { properties: properties.clone(), correlations: vec![correlation], ..report() })
    };
    let two = page(correlation(2, None, false));
    let data = text(section(&two, "data"));
    assert!(data.contains("Digits (%)") && data.contains("2.00") && data.contains("50.00"), "{data}");
    assert!(
        data.contains("known of 2 calibration sets, and no correlation is claimed of fewer than 10"),
        "{data}"
    );
    assert!(!data.contains("Spearman’s ρ with") && !two.contains("Properties against results"), "{data}");

    let some = page(correlation(5, Some(-0.6), false));
    assert!(text(section(&some, "data")).contains("−0.60 n = 5[−0.90, −0.20]"), "{}", section(&some, "data"));
    assert!(text(section(&some, "data")).contains("of 5 calibration sets, and no correlation is claimed"));
    let figures = section(&some, "properties");
    assert!(text(figures).contains("against digits: Wanda ρ = −0.60 [−0.90, −0.20], n = 5"), "{figures}");
    assert!(figures.contains("<title>Wanda-Alpaca: 10.0 at 100.00</title>"), "{figures}");

    let many = page(correlation(12, Some(-0.6), true));
    let data = section(&many, "data");
    assert!(data.contains("<b>−0.60</b>"), "{data}");
    assert!(
        text(data).contains(
            "Of 1 correlations over 10 calibration sets or more, 1 stands after Holm’s correction: digits and Exact match on \
             alpaca with Wanda at 50% (ρ = −0.60 [−0.90, −0.20], 12 sets)"
        ),
        "{data}"
    );
    let none = page(correlation(12, Some(-0.6), false));
    assert!(text(section(&none, "data")).contains("none stands after Holm’s correction"));
}

#[test]
fn what_would_decide_is_told_of_what_was_not_decided() {
    let decided = render(&report());
    assert!(!decided.contains("What it would take to decide"));
    // The standard error of 200 items is 0.03 / 1.96, of a difference of 0.01: (1.96 + 0.8416)² · 200 · (0.0153 / 0.01)² = 3676.
    let page = render(&Report { gains: vec![gain("Wanda", 0.01, -0.02, 0.04)], ..report() });
    let undecided = text(section(&page, "undecided"));
    assert!(undecided.contains("with 80% power at two-sided 5%."), "{undecided}");
    assert!(
        undecided.contains(
            "Wanda, Alpaca − C4, Exact match on alpaca: +1.0 [−2.0, +4.0] percentage points: would"
        ),
        "{undecided}"
    );
    // Each set's two seeds are 2 points apart: (2.8016)² · 2 · 2e-4 / 1e-4 + 0.96 = 32.4.
    assert!(
        undecided.contains(
            "would take about 3700 items (now 200); for the spread over draws alone, 33 seeds each (now 2)."
        ),
        "{undecided}"
    );
    let page = render(&Report { gains: vec![gain("Wanda", 0.0, -0.02, 0.02)], ..report() });
    assert!(text(section(&page, "undecided")).contains("no number of items or seeds"));
}

#[test]
fn what_is_missing_is_told() {
    assert!(!render(&report()).contains("Still missing"));
    let mut report = report();
    for cell in [2, 3, 4] {
        report.cells[cell].state = CellState::Missing;
        report.cells[cell].scores.clear();
        report.cells[cell].seconds = None;
    }
    let missing = text(section(&render(&report), "missing"));
    assert!(
        missing
            .contains("3 of 5 cells have not run; at the pace of those that have, they take about 3 min 3 s")
    );
    assert!(
        missing.contains("Wanda-C4 at 50%: seed 1\n") && missing.contains("Wanda-Alpaca at 50%\n"),
        "{missing}"
    );
}
