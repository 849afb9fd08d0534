use super::*;
use crate::report::{CellState, Evaluation};
use espalier_evaluate::{Mean, Metric, Retention};
use espalier_sdk::Sparsity;
use std::collections::BTreeMap;

/// Twelve sets of two seeds: the retention falls with the perplexity of the data, and the score has nothing to do with it.
fn report(sets: usize) -> Report {
    let mut report = Report {
        evaluations: vec![
            Evaluation { name: "A".into(), metrics: vec![Metric::Acc], group: Some("all".into()), items: 9 },
            Evaluation { name: "B".into(), metrics: vec![Metric::Acc], group: Some("all".into()), items: 9 },
            Evaluation { name: "Text".into(), metrics: vec![Metric::Perplexity], group: None, items: 9 },
        ],
        ..Report::default()
    };
    for set in 0..sets {
        for seed in 0..2 {
            let name = format!("set{set}");
            let (set, seed_as) = (set as f64, seed as f64);
            // The order of two sets is another than that of all others.
            let share = 1.0 - 0.05 * if set < 2.0 { 1.0 - set } else { set } + 0.001 * seed_as;
            let mean = |mean| Mean { mean, low: mean, high: mean, items: 9, stderr: None };
            report.cells.push(ReportCell {
                state: CellState::Done,
                model: "m".into(),
                method: Some("Wanda".into()),
                label: format!("Wanda-{name}"),
                sparsity: Some(Sparsity::Ratio(0.5)),
                calibration: Some(name.clone()),
                seed: Some(seed),
                scores: BTreeMap::from([(
                    "Text".into(),
                    BTreeMap::from([(Metric::Perplexity, mean((set * 7.0) % 5.0))]),
                )]),
                retention: BTreeMap::from([(
                    "all".into(),
                    Retention { share, low: share, high: share, items: 9 },
                )]),
                ..ReportCell::default()
            });
            let mut add = |property, evaluation: Option<&str>, value| {
                report.properties.push(MeasuredProperty {
                    model: "m".into(),
                    calibration: name.clone(),
                    seed,
                    property,
                    evaluation: evaluation.map(str::to_owned),
                    value,
                });
            };
            add(Property::Perplexity, None, 10.0 + set);
            add(Property::Overlap, Some("A"), 0.2);
            add(Property::Overlap, Some("B"), 0.4);
        }
    }
    report
}

fn found(all: &[Correlation], property: Property, outcome: &Outcome) -> Correlation {
    all.iter().find(|one| one.property == property && one.outcome == *outcome).expect("it is there").clone()
}

#[test]
fn sets_are_points_and_seeds_are_averaged() {
    let all = correlations(&report(12));
    assert_eq!(all.len(), 3, "text has no overlap that was measured");
    let kept = Outcome::Retention("all".into());
    let of_perplexity = found(&all, Property::Perplexity, &kept);
    assert_eq!(of_perplexity.points.len(), 12);
    assert_eq!(of_perplexity.points[3].property, 13.0);
    assert!((of_perplexity.points[3].outcome - 0.8505).abs() < 1e-12);
    // scipy.stats.spearmanr of 0, 1, 2, … and -1, 0, -2, …
    assert!((of_perplexity.rho.unwrap() + 0.993_006_993).abs() < 1e-9, "{of_perplexity:?}");
    let (low, high) = of_perplexity.interval.unwrap();
    assert!(low < -0.993 && -0.97 < high && high < -0.9 && of_perplexity.stands);
    // All sets share as much with the evaluations: 0.3 on average, and there is no order.
    let overlap = found(&all, Property::Overlap, &kept);
    assert!((overlap.points[0].property - 0.3).abs() < 1e-12 && overlap.rho.is_none() && !overlap.stands);
    let score = Outcome::Score { evaluation: "Text".into(), metric: Metric::Perplexity };
    let none = found(&all, Property::Perplexity, &score);
    assert!(none.rho.is_some() && !none.stands, "{none:?}");
}

#[test]
fn nothing_is_claimed_of_few_sets() {
    let kept = Outcome::Retention("all".into());
    let nine = found(&correlations(&report(9)), Property::Perplexity, &kept);
    assert!(nine.rho.unwrap() < -0.9 && nine.interval.is_some() && !nine.stands);
    let three = found(&correlations(&report(3)), Property::Perplexity, &kept);
    assert!(three.rho.is_none() && three.interval.is_none() && three.points.len() == 3);
}

#[test]
fn files_of_properties_have_a_line_for_each() {
    let mut report = report(4);
    report.correlations = correlations(&report);
    let text = properties_csv(&report);
    assert_eq!(text.lines().count(), 1 + 4 * 2 * 3);
    assert!(text.contains("\nm,set1,0,perplexity,,11\nm,set1,0,overlap,A,0.2\n"), "{text}");
    let text = correlations_csv(&report);
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with("m,Wanda,0.5,perplexity,all,retention,4,-0.8,-0."), "{line}");
    assert!(line.ends_with(",false"), "{line}");
    assert!(text.contains("m,Wanda,0.5,overlap,all,retention,4,,,,false\n"), "{text}");
}
