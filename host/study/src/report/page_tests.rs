use super::{
    super::{AbilityRetention, Difference, Evaluation, Gain, Output, Prediction, ReportCell},
    *,
};
use espalier_evaluate::{Mean, Metric, Retention};
use espalier_sdk::Sparsity;
use std::collections::BTreeMap;

/// The page of a report, as the tests read it.
pub(super) fn render(report: &Report) -> String {
    super::render(report).expect("the templates fit")
}

/// A dense model and two pruned variants with two seeds each, on one evaluation.
pub(super) fn report() -> Report {
    let mut cells = vec![cell("dense", None, 0.8)];
    cells.extend(
        [0.70, 0.72].into_iter().enumerate().map(|(seed, mean)| cell("Wanda-C4", Some(seed as u64), mean)),
    );
    cells.extend(
        [0.76, 0.78]
            .into_iter()
            .enumerate()
            .map(|(seed, mean)| cell("Wanda-Alpaca", Some(seed as u64), mean)),
    );
    Report {
        title: "A <study>".into(),
        espalier: "0.1.0".into(),
        study_file: "study.toml".into(),
        study_toml: "title = \"A <study>\" # &c".into(),
        command: "host study study.toml".into(),
        evaluations: vec![Evaluation {
            name: "alpaca".into(),
            metrics: vec![Metric::ExactMatch],
            items: 200,
            ..Evaluation::default()
        }],
        calibrations: vec![Calibration {
            name: "C4".into(),
            summary: "c4.jsonl".into(),
            ..Calibration::default()
        }],
        differences: vec![
            difference("Wanda-C4", -0.09, -0.12, -0.06),
            difference("Wanda-Alpaca", -0.03, -0.06, 0.01),
        ],
        gains: vec![gain("Wanda", 0.06, 0.02, 0.1)],
        cells,
        ..Report::default()
    }
}

pub(super) fn cell(label: &str, seed: Option<u64>, mean: f64) -> ReportCell {
    let pruned = |value: &str| seed.map(|_| value.to_owned());
    let score = Mean { mean, low: mean - 0.05, high: mean + 0.05, items: 200, stderr: None };
    ReportCell {
        hash: format!("{label}{seed:?}").replace(['(', ')'], "-"),
        state: CellState::Done,
        command: format!("host study study.toml --cell {label}"),
        model: "tiny".into(),
        method: pruned("Wanda"),
        label: label.into(),
        sparsity: seed.map(|_| Sparsity::Ratio(0.5)),
        calibration: pruned(label.trim_start_matches("Wanda-")),
        seed,
        seconds: Some(61.0),
        scores: BTreeMap::from([("alpaca".into(), BTreeMap::from([(Metric::ExactMatch, score)]))]),
        ..ReportCell::default()
    }
}

fn difference(label: &str, difference: f64, low: f64, high: f64) -> Difference {
    Difference {
        model: "tiny".into(),
        label: label.into(),
        method: "Wanda".into(),
        sparsity: Sparsity::Ratio(0.5),
        evaluation: "alpaca".into(),
        metric: Metric::ExactMatch,
        dense: 0.8,
        mean: 0.8 + difference,
        difference,
        low,
        high,
        seeds: 2,
        calibration: None,
    }
}

pub(super) fn gain(method: &str, difference: f64, low: f64, high: f64) -> Gain {
    Gain {
        model: "tiny".into(),
        method: method.into(),
        against: None,
        sparsity: Sparsity::Ratio(0.5),
        plain: "C4".into(),
        task: "Alpaca".into(),
        evaluation: "alpaca".into(),
        metric: Metric::ExactMatch,
        difference,
        low,
        high,
        seeds: 2,
    }
}

/// The part of the page under an anchor.
pub(super) fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!("<section id=\"{id}\"")).expect("the section is there");
    let length = page[start..].find("</section>").expect("it ends");
    &page[start..start + length]
}

/// Text without its tags.
pub(super) fn text(html: &str) -> String {
    let mut out = String::new();
    let mut tag = false;
    for character in html.chars() {
        match character {
            '<' => tag = true,
            '>' => tag = false,
            _ if !tag => out.push(character),
            _ => {}
        }
    }
    out
}

#[test]
fn the_table_shows_means_spreads_and_differences() {
    let page = render(&report());
    let scores = section(&page, "scores");
    assert!(scores.contains("<td>80.0<span class=\"second\">[75.0, 85.0]</span></td>"), "{scores}");
    assert!(
        scores
            .contains("<td>71.0 <span class=\"spread\">± 1.4</span><span class=\"second\">−9.0</span></td>")
    );
    let undecided = "<td><b>77.0</b> <span class=\"spread\">± 1.4</span><span class=\"second\">−3.0 <abbr title=\"no \
                     difference detected\">n.d.</abbr></span></td>";
    assert!(scores.contains(undecided), "{scores}");
    assert_eq!(scores.matches("<b>").count(), 1);
}

#[test]
fn lower_perplexity_is_bold() {
    let mut report = report();
    report.evaluations[0].metrics = vec![Metric::Perplexity];
    for cell in &mut report.cells {
        let scores = cell.scores.get_mut("alpaca").expect("scores");
        let score = scores.remove(&Metric::ExactMatch).expect("a score");
        scores.insert(Metric::Perplexity, score);
    }
    let page = render(&report);
    assert!(section(&page, "scores").contains("<td><b>0.71</b> "));
}

#[test]
fn an_interval_around_zero_is_no_difference() {
    let page = render(&report());
    let dense = text(section(&page, "dense"));
    assert!(dense.contains("−9.0 [−12.0, −6.0] worse"), "{dense}");
    assert!(dense.contains("−3.0 [−6.0, +1.0] no difference detected"), "{dense}");
    assert_eq!(
        dense.matches("no difference detected").count(),
        1 + usize::from(dense.contains("contains 0"))
    );
}

#[test]
fn every_seed_has_a_mark() {
    let page = render(&report());
    let seeds = section(&page, "seeds");
    for title in ["seed 0: 70.0", "seed 1: 72.0", "seed 0: 76.0", "seed 1: 78.0"] {
        assert!(seeds.contains(&format!("<title>{title}</title>")), "{title}");
    }
    assert_eq!(seeds.matches("<use href=\"#shape0\"><title>").count(), 2);
}

#[test]
fn failed_and_missing_cells_are_hatched_and_say_why() {
    let mut report = report();
    for (cell, state) in report.cells[1..].iter_mut().zip([CellState::Failed, CellState::Missing].repeat(2)) {
        cell.state = state;
        cell.scores.clear();
        cell.error = (state == CellState::Failed).then(|| "layer 3 <gone>".into());
    }
    report.differences.clear();
    let page = render(&report);
    let scores = section(&page, "scores");
    assert_eq!(scores.matches("<td class=\"failed\">").count(), 2, "{scores}");
    assert!(
        scores.contains("<a class=\"state failed\" href=\"#cell-Wanda-C4Some-0-\">seed 0 failed</a>"),
        "{scores}"
    );
    assert!(section(&page, "seeds").contains("<rect class=\"failed\""));
    assert!(section(&page, "calibration").contains("<rect class=\"failed\""));
    let cells = section(&page, "cells");
    assert_eq!(cells.matches("<td class=\"missing\">").count(), 2);
    assert!(cells.contains("layer 3 &lt;gone&gt;"));
    assert!(page.contains("3 of 5 cells done") || page.contains("1 of 5 cells done"));
}

#[test]
fn every_cell_has_its_command() {
    let report = report();
    let page = render(&report);
    for cell in &report.cells {
        assert!(
            section(&page, "cells").contains(&format!("<code>{}</code>", cell.command)),
            "{}",
            cell.command
        );
        assert!(page.contains(&format!("id=\"cell-{}\"", cell.hash)));
    }
    assert!(section(&page, "settings").contains("title = &quot;A &lt;study&gt;&quot; # &amp;c"));
}

#[test]
fn predictions_stay_text() {
    let mut report = report();
    let nasty = "</script><script>alert(1)</script><!--";
    let output = |label: &str, text: &str, score: f64| Output {
        label: label.into(),
        sparsity: Some(Sparsity::Ratio(0.5)),
        seed: Some(0),
        text: text.into(),
        scores: BTreeMap::from([(Metric::ExactMatch, score)]),
    };
    report.predictions = vec![Prediction {
        model: "tiny".into(),
        evaluation: "alpaca".into(),
        item: 7,
        prompt: nasty.into(),
        references: vec![nasty.into()],
        dense: output("dense", "yes", 1.0),
        others: vec![
            output("Wanda-C4", nasty, 0.0),
            output("Wanda-Alpaca", "yes", 1.0),
            output("Wanda-Alpaca", "Yes.", 1.0),
        ],
    }];
    let page = render(&report);
    assert!(!page.contains("alert(1)</script>") && !page.contains("<!--"));
    assert_eq!(page.matches("</script>").count(), 1);
    let predictions = section(&page, "predictions");
    for (variant, change) in [("Wanda-C4", "worse"), ("Wanda-Alpaca", "same"), ("Wanda-Alpaca", "changed")] {
        assert!(
            predictions.contains(&format!("data-variant=\"{variant}\" data-change=\"{change}\"")),
            "{change}"
        );
    }
}

#[test]
fn the_verdict_follows_the_intervals() {
    let verdict = |gains: Vec<Gain>, contrasts: Vec<Gain>| {
        let page = render(&Report { gains, contrasts, ..report() });
        text(section(&page, "verdict"))
    };
    let better = verdict(vec![gain("Wanda", 0.06, 0.02, 0.1)], Vec::new());
    assert!(better.contains("With Wanda, task calibration beat plain text:"), "{better}");
    assert!(better.contains("+6.0 [+2.0, +10.0] percentage points"), "{better}");
    let worse = verdict(vec![gain("Wanda", -0.06, -0.1, -0.02)], Vec::new());
    assert!(worse.contains("With Wanda, task calibration did worse than plain text:"), "{worse}");
    let none = verdict(vec![gain("Wanda", 0.01, -0.02, 0.04)], Vec::new());
    assert!(none.contains("With Wanda, task calibration made no difference that was detected:"), "{none}");
    assert!(verdict(Vec::new(), Vec::new()).contains("cannot say"));

    // Of perplexity, less is better.
    let perplexity = Gain { metric: Metric::Perplexity, ..gain("Wanda", -0.5, -0.7, -0.3) };
    assert!(verdict(vec![perplexity], Vec::new()).contains("task calibration beat plain text:"));

    let contrast = |difference: f64, low: f64, high: f64| Gain {
        model: "tiny".into(),
        method: "SparseGPT".into(),
        against: Some("Wanda".into()),
        sparsity: Sparsity::Ratio(0.5),
        plain: "C4".into(),
        task: "Alpaca".into(),
        evaluation: "alpaca".into(),
        metric: Metric::ExactMatch,
        difference,
        low,
        high,
        seeds: 3,
    };
    let compare = |contrast| verdict(vec![gain("Wanda", 0.06, 0.02, 0.1)], vec![contrast]);
    assert!(compare(contrast(0.03, 0.01, 0.05)).contains("SparseGPT gained more from it than Wanda"));
    assert!(compare(contrast(-0.03, -0.05, -0.01)).contains("Wanda gained more from it than SparseGPT"));
    assert!(
        compare(contrast(0.01, -0.01, 0.03)).contains("Neither of SparseGPT and Wanda was seen to gain more")
    );
}

#[test]
fn an_empty_report_and_numbers_that_are_not_finite_make_a_page() {
    let page = render(&Report::default());
    assert!(page.contains("0 of 0 cells done") && page.ends_with("</html>\n"));
    let mut report = report();
    for cell in &mut report.cells {
        for score in cell.scores.values_mut().flat_map(BTreeMap::values_mut) {
            *score =
                Mean { mean: f64::NAN, low: f64::NEG_INFINITY, high: f64::INFINITY, items: 0, stderr: None };
        }
    }
    report.differences[0].low = f64::NAN;
    let page = render(&report);
    assert!(section(&page, "scores").contains("NaN"));
    assert!(text(section(&page, "dense")).contains("not comparable"));
    assert!(!page.contains("=\"NaN") && !page.contains("NaN%"));
}

#[test]
fn the_same_report_makes_the_same_page() {
    assert_eq!(render(&report()), render(&report()));
}

#[test]
fn what_is_kept_of_abilities_is_shown() {
    let kept = |group: &str, share: f64, low: f64| AbilityRetention {
        model: "tiny".into(),
        label: "Wanda-C4".into(),
        method: "Wanda".into(),
        sparsity: Sparsity::Ratio(0.5),
        calibration: Some("C4".into()),
        group: group.into(),
        retention: Retention { share, low, high: 0.95, items: 100 },
        seeds: 2,
    };
    let without = render(&report());
    assert!(!without.contains("Abilities kept"));
    let retentions = vec![
        kept("common<sense>", 0.875, 0.8),
        kept("mathematics", 0.5, f64::NAN),
        kept("reading", f64::NAN, f64::NAN),
    ];
    let page = render(&Report { retentions, ..report() });
    for shown in ["Retention at 50%", "common&lt;sense&gt;", "87.5%", "[80.0, 95.0]", "50.0%", "at chance"] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(!page.contains("NaN"));
}

#[test]
fn the_verdict_counts_what_stands_among_all_that_was_compared() {
    // Each interval alone excludes 0; of forty comparisons, only the clearest stands.
    let mut gains = vec![gain("Wanda", 0.06, 0.05, 0.07)];
    gains.extend((0..39).map(|_| gain("Wanda", 0.06, 0.005, 0.115)));
    let page = render(&Report { gains: gains.clone(), ..report() });
    assert!(page.contains("1 better, 0 worse, 39 with no difference detected"), "{page}");
    assert!(
        page.contains(
            "40 comparisons were made; a difference is counted only where it also stands after Holm"
        )
    );
    let alone = render(&Report { gains: gains[1..2].to_vec(), ..report() });
    assert!(alone.contains("1 better, 0 worse, 0 with no difference detected"), "{alone}");
    assert!(alone.contains("1 comparison was made"));
}
