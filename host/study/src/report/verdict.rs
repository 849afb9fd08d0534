//! The study's answer to its question, in one paragraph: did calibration on a task's data beat calibration
//! on plain text, and for which method more?

use super::{
    data::Gain,
    holm::{Holm, p_value},
    metric::{IntervalOutcome, MetricFormat, sparsity_title},
    view::{ReportView, TextSpan, distinct},
};
use std::cmp::Ordering;

/// How a number of comparisons came out.
#[derive(Default)]
struct Tally {
    better: usize,
    worse: usize,
    undecided: usize,
}

impl Tally {
    /// Of gains, by their intervals and the correction for all that are compared.
    fn of<'a>(gains: impl IntoIterator<Item = &'a Gain>, holm: Holm) -> Self {
        let mut tally = Self::default();
        for gain in gains {
            let outcome = MetricFormat::of(gain.metric).outcome(gain.low, gain.high);
            match if stands(gain, holm) { outcome } else { IntervalOutcome::Undecided } {
                IntervalOutcome::Better => tally.better += 1,
                IntervalOutcome::Worse => tally.worse += 1,
                IntervalOutcome::Undecided | IntervalOutcome::Unknown => tally.undecided += 1,
            }
        }
        tally
    }

    /// How many comparisons there were, in words.
    fn comparisons(&self) -> String {
        let total = self.better + self.worse + self.undecided;
        if total == 1 { "1 comparison".to_owned() } else { format!("{total} comparisons") }
    }

    /// The outcome in words that follow "task calibration".
    fn words(&self) -> &'static str {
        match (self.better, self.worse) {
            (0, 0) => "made no difference that was detected",
            (_, 0) if self.undecided == 0 => "beat plain text",
            (_, 0) => "beat plain text in part",
            (0, _) if self.undecided == 0 => "did worse than plain text",
            (0, _) => "did worse than plain text in part",
            _ => "beat plain text on some and lost on others",
        }
    }
}

/// Whether a gain stands after the correction.
fn stands(gain: &Gain, holm: Holm) -> bool {
    holm.stands(p_value(gain.difference, gain.low, gain.high))
}

/// The correction for all comparisons of calibration sets and of what methods gain.
pub(super) fn correction(view: &ReportView<'_>) -> Holm {
    let compared = view.report.gains.iter().chain(&view.report.contrasts);
    Holm::of(compared.map(|gain| p_value(gain.difference, gain.low, gain.high)))
}

/// Whether a comparison was decided: its interval is on one side of 0, and it stands after the correction.
pub(super) fn is_decided(gain: &Gain, holm: Holm) -> bool {
    let outcome = MetricFormat::of(gain.metric).outcome(gain.low, gain.high);
    matches!(outcome, IntervalOutcome::Better | IntervalOutcome::Worse) && stands(gain, holm)
}

/// The paragraph.
pub(super) fn verdict(view: &ReportView<'_>) -> Vec<TextSpan> {
    let gains = &view.report.gains;
    if gains.is_empty() {
        let text = "This study has no finished pair of a task calibration set and a plain-text one, so it cannot say \
                    whether task calibration beats plain text.";
        return vec![TextSpan::plain(text)];
    }
    let holm = correction(view);
    let mut out = Vec::new();
    for method in distinct(gains.iter().map(|gain| gain.method.as_str())) {
        let (scored, rest): (Vec<_>, Vec<_>) = gains
            .iter()
            .filter(|gain| gain.method == method)
            .partition(|gain| gain.metric.higher_is_better());
        out.extend(sentences(view, method, &scored, &rest, holm));
    }
    out.extend(comparison(view, holm));
    out.push(TextSpan::plain(format!(
        "Each interval holds its difference with 95% confidence, over the items of its evaluation with the seeds \
         averaged. {} made; a difference is counted only where it also stands after Holm’s correction for all of them, by \
         which the chance of counting any that is none is at most 5%.",
        match holm.comparisons {
            1 => "1 comparison was".to_owned(),
            count => format!("{count} comparisons were"),
        }
    )));
    out
}

/// One method's sentences: the outcome, the count, and the widest difference.
fn sentences(
    view: &ReportView<'_>,
    method: &str,
    scored: &[&Gain],
    rest: &[&Gain],
    holm: Holm,
) -> Vec<TextSpan> {
    let tally = |gains: &[&Gain]| Tally::of(gains.iter().copied(), holm);
    let (main, what) = if scored.is_empty() { (rest, "likelihood") } else { (scored, "answer score") };
    let counts = tally(main);
    let mut text = format!(
        ": of {} of {what}s, {} better, {} worse, {} with no difference detected",
        counts.comparisons(),
        counts.better,
        counts.worse,
        counts.undecided
    );
    if let Some(widest) = widest(main) {
        text += &format!(" (the widest: {}: {})", place(view, widest), interval(widest));
    }
    text += ". ";
    if !scored.is_empty() && !rest.is_empty() {
        let counts = tally(rest);
        text += &format!(
            "On perplexity and divergence: {} better, {} worse, {} with no difference detected. ",
            counts.better, counts.worse, counts.undecided
        );
    }
    vec![
        TextSpan::strong(format!("With {method}, task calibration {}", counts.words())),
        TextSpan::plain(text),
    ]
}

/// The widest of differences that are in one unit.
fn widest<'g>(gains: &[&'g Gain]) -> Option<&'g Gain> {
    let first: &Gain = gains.first()?;
    let comparable = |gain: &&&Gain| {
        gain.difference.is_finite() && (gain.metric == first.metric || gain.metric.higher_is_better())
    };
    let widest = gains.iter().filter(comparable).max_by(|a, b| {
        // Of equals the first.
        a.difference.abs().total_cmp(&b.difference.abs()).then(Ordering::Greater)
    });
    Some(widest.unwrap_or(&first))
}

/// The metric, the data and the sparsity of a gain, in words.
fn place(view: &ReportView<'_>, gain: &Gain) -> String {
    format!(
        "{} on {} with {} instead of {} at {}{}",
        MetricFormat::of(gain.metric).title,
        gain.evaluation,
        gain.task,
        gain.plain,
        sparsity_title(gain.sparsity),
        view.of_model(&gain.model)
    )
}

/// A gain with its interval and its unit.
fn interval(gain: &Gain) -> String {
    let format = MetricFormat::of(gain.metric);
    format.interval(gain.difference, gain.low, gain.high) + &format.difference_unit()
}

/// Which method gained more.
fn comparison(view: &ReportView<'_>, holm: Holm) -> Vec<TextSpan> {
    let contrasts = &view.report.contrasts;
    let mut out = Vec::new();
    for (name, other) in
        distinct(contrasts.iter().filter_map(|one| Some((one.method.as_str(), one.against.as_deref()?))))
    {
        let own = contrasts.iter().filter(|one| one.method == name && one.against.as_deref() == Some(other));
        let (scored, rest): (Vec<&Gain>, Vec<&Gain>) = own.partition(|one| one.metric.higher_is_better());
        let main = if scored.is_empty() { rest } else { scored };
        let counts = Tally::of(main.iter().copied(), holm);
        let Some(first) = widest(&main) else { continue };
        out.push(TextSpan::strong(match (counts.better, counts.worse) {
            (0, 0) => format!("Neither of {name} and {other} was seen to gain more"),
            (_, 0) => format!("{name} gained more from it than {other}"),
            (0, _) => format!("{other} gained more from it than {name}"),
            _ => format!("Whether {name} or {other} gained more depends on the score"),
        }));
        out.push(TextSpan::plain(format!(
            ": {name}’s gain was larger in {}, smaller in {}, and not told apart in {} of {} (the widest: {}: gain of \
             {name} minus gain of {other} {}). ",
            counts.better,
            counts.worse,
            counts.undecided,
            counts.comparisons(),
            place(view, first),
            interval(first)
        )));
    }
    out
}
