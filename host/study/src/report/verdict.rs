//! What the study says of its question, in one paragraph: did calibration on a task's data beat calibration
//! on plain text, and for which method more?

use super::{
    data::Gain,
    html::{Text, put},
    metric::{Kind, Metric, Outcome, sparsity_title},
    view::{View, distinct},
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
    /// Of metrics with the intervals of their differences.
    fn of<'a>(intervals: impl Iterator<Item = (&'a str, f64, f64)>) -> Self {
        let mut tally = Self::default();
        for (metric, low, high) in intervals {
            match Metric::named(metric).outcome(low, high) {
                Outcome::Better => tally.better += 1,
                Outcome::Worse => tally.worse += 1,
                Outcome::Undecided | Outcome::Unknown => tally.undecided += 1,
            }
        }
        tally
    }

    fn total(&self) -> usize {
        self.better + self.worse + self.undecided
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

/// The paragraph, as HTML.
pub(super) fn verdict(view: &View<'_>) -> String {
    let gains = &view.report.gains;
    if gains.is_empty() {
        return "<p>This study has no finished pair of a task calibration set and a plain-text one, so it cannot say \
                whether task calibration beats plain text.</p>\n"
            .to_owned();
    }
    let answers = |gain: &&Gain| Metric::named(&gain.metric).kind == Kind::Answers;
    let mut out = "<p>".to_owned();
    for method in distinct(gains.iter().map(|gain| gain.method.as_str())) {
        let own: Vec<_> = gains.iter().filter(|gain| gain.method == method).collect();
        let scored = own.iter().copied().filter(answers);
        let rest = own.iter().copied().filter(|gain| !answers(gain));
        sentences(view, &mut out, method, &scored.collect::<Vec<_>>(), &rest.collect::<Vec<_>>());
    }
    put!(out, "{}", comparison(view));
    let count = gains.len();
    put!(
        out,
        "Each interval holds its difference with 95% confidence, over the items of its evaluation with the seeds \
         averaged; of {count} such comparison{}, one in twenty would look like a difference by chance alone.</p>\n",
        if count == 1 { "" } else { "s" }
    );
    out
}

/// One method's sentences: the outcome, the count, and the widest difference.
fn sentences(view: &View<'_>, out: &mut String, method: &str, scored: &[&Gain], rest: &[&Gain]) {
    let tally =
        |gains: &[&Gain]| Tally::of(gains.iter().map(|gain| (gain.metric.as_str(), gain.low, gain.high)));
    let main = if scored.is_empty() { rest } else { scored };
    let counts = tally(main);
    let what = if scored.is_empty() { "likelihood" } else { "answer score" };
    put!(
        out,
        "<strong>With {}, task calibration {}</strong>: of {} comparison{} of {what}s, {} better, {} worse, {} with no \
         difference detected",
        Text(method),
        counts.words(),
        counts.total(),
        if counts.total() == 1 { "" } else { "s" },
        counts.better,
        counts.worse,
        counts.undecided
    );
    if let Some(widest) = widest(main) {
        put!(out, " (the widest: {})", headline(view, widest));
    }
    out.push_str(". ");
    if !scored.is_empty() && !rest.is_empty() {
        let counts = tally(rest);
        put!(
            out,
            "On perplexity and divergence: {} better, {} worse, {} with no difference detected. ",
            counts.better,
            counts.worse,
            counts.undecided
        );
    }
}

/// The widest of differences that are in one unit.
fn widest<'g>(gains: &[&'g Gain]) -> Option<&'g Gain> {
    let first = gains.first()?;
    let comparable = |gain: &&&Gain| {
        gain.difference.is_finite()
            && (gain.metric == first.metric || Metric::named(&gain.metric).kind == Kind::Answers)
    };
    let widest = gains.iter().filter(comparable).max_by(|a, b| {
        // Of equals the first.
        a.difference.abs().total_cmp(&b.difference.abs()).then(Ordering::Greater)
    });
    Some(widest.unwrap_or(first))
}

/// A gain with its interval, in words.
fn headline(view: &View<'_>, gain: &Gain) -> String {
    let metric = Metric::named(&gain.metric);
    format!(
        "{} on {} with {} instead of {} at {}{}: {}{}",
        Text(metric.title),
        Text(&gain.evaluation),
        Text(&gain.task),
        Text(&gain.plain),
        Text(sparsity_title(&gain.sparsity)),
        Text(view.of_model(&gain.model)),
        metric.interval(gain.difference, gain.low, gain.high),
        metric.difference_unit()
    )
}

/// Which method gained more.
fn comparison(view: &View<'_>) -> String {
    let contrasts = &view.report.contrasts;
    let mut out = String::new();
    for (method, against) in
        distinct(contrasts.iter().filter_map(|one| Some((one.method.as_str(), one.against.as_deref()?))))
    {
        let own =
            contrasts.iter().filter(|one| one.method == method && one.against.as_deref() == Some(against));
        let own: Vec<&Gain> = own.collect();
        let scored = own.iter().filter(|one| Metric::named(&one.metric).kind == Kind::Answers);
        let mut main: Vec<_> = scored.copied().collect();
        if main.is_empty() {
            main = own;
        }
        let counts = Tally::of(main.iter().map(|one| (one.metric.as_str(), one.low, one.high)));
        let Some(first) = widest(&main) else { continue };
        let metric = Metric::named(&first.metric);
        let (name, other) = (Text(method), Text(against));
        match (counts.better, counts.worse) {
            (0, 0) => put!(out, "<strong>Neither of {name} and {other} was seen to gain more</strong>"),
            (_, 0) => put!(out, "<strong>{name} gained more from it than {other}</strong>"),
            (0, _) => put!(out, "<strong>{other} gained more from it than {name}</strong>"),
            _ => put!(out, "<strong>Whether {name} or {other} gained more depends on the score</strong>"),
        }
        put!(
            out,
            ": {name}’s gain was larger in {}, smaller in {}, and not told apart in {} of {} comparison{} (the widest: {} on {} with \
             {} instead of {} at {}{}: gain of {name} minus gain of {other} {}{}). ",
            counts.better,
            counts.worse,
            counts.undecided,
            counts.total(),
            if counts.total() == 1 { "" } else { "s" },
            Text(metric.title),
            Text(&first.evaluation),
            Text(&first.task),
            Text(&first.plain),
            Text(sparsity_title(&first.sparsity)),
            Text(view.of_model(&first.model)),
            metric.interval(first.difference, first.low, first.high),
            metric.difference_unit()
        );
    }
    out
}
