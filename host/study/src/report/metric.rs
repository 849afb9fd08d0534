//! How a metric is named, scaled and read.

use espalier_evaluate::Metric;
use espalier_sdk::Sparsity;

/// A minus sign, which is as wide as a plus.
const MINUS: char = '−';

/// The outcome of a difference's 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntervalOutcome {
    /// All of it is on the better side of 0.
    Better,
    /// All of it is on the worse side.
    Worse,
    /// It contains 0.
    Undecided,
    /// One of its ends is not a number.
    Unknown,
}

impl IntervalOutcome {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Undecided => "no difference detected",
            Self::Unknown => "not comparable",
        }
    }

    /// As a class of the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Undecided | Self::Unknown => "undecided",
        }
    }
}

/// A metric, as it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MetricFormat {
    metric: Metric,
    /// Its name in words.
    pub(crate) title: &'static str,
    /// Its unit, if any, of values and of differences.
    unit: Option<(&'static str, &'static str)>,
    factor: f64,
    decimals: usize,
}

impl MetricFormat {
    /// The format of a metric.
    pub(crate) fn of(metric: Metric) -> Self {
        let answers = |title| Self {
            metric,
            title,
            unit: Some(("%", "percentage points")),
            factor: 100.0,
            decimals: 1,
        };
        let likelihood = |title, unit, decimals| Self { metric, title, unit, factor: 1.0, decimals };
        match metric {
            Metric::ExactMatch => answers("Exact match"),
            Metric::F1 => answers("F1"),
            Metric::Rouge1 => answers("ROUGE-1"),
            Metric::Rouge1Stemmed => answers("ROUGE-1 (stemmed)"),
            Metric::Perplexity => likelihood("Perplexity", None, 2),
            Metric::AnswerPerplexity => likelihood("Answer perplexity", None, 2),
            Metric::Acc => answers("Accuracy"),
            Metric::AccNorm => answers("Accuracy by length"),
            Metric::AccBytes => answers("Accuracy by bytes"),
            Metric::TargetPerplexity => likelihood("Target perplexity", None, 2),
            Metric::StrictMatch => answers("Strict match"),
            Metric::FlexibleExtract => answers("Flexible match"),
            Metric::JsDivergence => likelihood("JS divergence", Some(("nats", "nats")), 4),
        }
    }

    /// A value in the metric's display scale.
    pub(crate) fn scaled(&self, value: f64) -> f64 {
        value * self.factor
    }

    /// A value, without its unit.
    pub(crate) fn value(&self, value: f64) -> String {
        number(self.scaled(value), self.decimals)
    }

    /// A difference of values, with its sign.
    pub(crate) fn signed(&self, difference: f64) -> String {
        let text = self.value(difference);
        let zero = !text.chars().any(|c| ('1'..='9').contains(&c));
        match text.strip_prefix(MINUS) {
            Some(digits) if zero => digits.to_owned(),
            _ if zero || text.starts_with(MINUS) || difference.is_nan() => text,
            _ => format!("+{text}"),
        }
    }

    /// A difference with its 95% interval.
    pub(crate) fn interval(&self, difference: f64, low: f64, high: f64) -> String {
        format!("{} [{}, {}]", self.signed(difference), self.signed(low), self.signed(high))
    }

    /// An axis' label.
    pub(crate) fn axis(&self) -> String {
        self.unit.map_or_else(|| self.title.to_owned(), |(unit, _)| format!("{} ({unit})", self.title))
    }

    /// The unit of a difference, led by a space, or nothing.
    pub(crate) fn difference_unit(&self) -> String {
        self.unit.map_or_else(String::new, |(_, unit)| format!(" {unit}"))
    }

    /// A difference turned so that more is better.
    pub(crate) fn gain(&self, difference: f64) -> f64 {
        if self.metric.higher_is_better() { difference } else { -difference }
    }

    /// The outcome of a difference's interval.
    pub(crate) fn outcome(&self, low: f64, high: f64) -> IntervalOutcome {
        let (worst, best) = if self.metric.higher_is_better() { (low, high) } else { (-high, -low) };
        match () {
            () if worst.is_nan() || best.is_nan() => IntervalOutcome::Unknown,
            () if worst > 0.0 => IntervalOutcome::Better,
            () if best < 0.0 => IntervalOutcome::Worse,
            () => IntervalOutcome::Undecided,
        }
    }

    /// Which way is better, as a hint on an axis.
    pub(crate) fn direction(&self) -> &'static str {
        if self.metric.higher_is_better() { "right is better" } else { "left is better" }
    }
}

/// A number with some decimals; three significant digits where it is large.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let text = if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "∞".to_owned() } else { "-∞".to_owned() }
    } else if value.abs() >= 1e6 {
        format!("{value:.2e}")
    } else if value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.decimals$}")
    };
    text.replace('-', &MINUS.to_string())
}

/// A sparsity as it is read: a ratio in percent, a pattern as it stands.
pub(crate) fn sparsity_title(sparsity: Sparsity) -> String {
    match sparsity {
        Sparsity::Ratio(ratio) => percent(ratio),
        Sparsity::Pattern { .. } => sparsity.to_string(),
    }
}

/// A ratio in percent, with no more than two decimals.
pub(crate) fn percent(ratio: f64) -> String {
    let percent = format!("{:.2}", ratio * 100.0);
    format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// A time in words.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_in_the_metrics_scale() {
        let exact_match = MetricFormat::of(Metric::ExactMatch);
        assert_eq!(exact_match.value(0.6249), "62.5");
        assert_eq!(exact_match.signed(-0.031), "−3.1");
        assert_eq!(exact_match.signed(0.031), "+3.1");
        assert_eq!(exact_match.signed(-0.0001), "0.0");
        assert_eq!(exact_match.interval(0.01, -0.02, 0.04), "+1.0 [−2.0, +4.0]");
        let perplexity = MetricFormat::of(Metric::Perplexity);
        assert_eq!(perplexity.value(85_234.4), "85234");
        assert_eq!(perplexity.value(f64::INFINITY), "∞");
        assert_eq!(perplexity.signed(f64::NAN), "NaN");
    }

    #[test]
    fn intervals_tell_which_way() {
        let (f1, perplexity) = (MetricFormat::of(Metric::F1), MetricFormat::of(Metric::Perplexity));
        assert_eq!(f1.outcome(0.1, 0.2), IntervalOutcome::Better);
        assert_eq!(f1.outcome(-0.2, -0.1), IntervalOutcome::Worse);
        assert_eq!(perplexity.outcome(-0.2, -0.1), IntervalOutcome::Better);
        assert_eq!(perplexity.outcome(0.1, 0.2), IntervalOutcome::Worse);
        assert_eq!(f1.outcome(0.0, 0.2), IntervalOutcome::Undecided);
        assert_eq!(perplexity.outcome(-0.1, 0.0), IntervalOutcome::Undecided);
        assert_eq!(f1.outcome(f64::NAN, -0.1), IntervalOutcome::Unknown);
    }

    #[test]
    fn sparsities_are_read() {
        assert_eq!(sparsity_title(Sparsity::Ratio(0.5)), "50%");
        assert_eq!(sparsity_title(Sparsity::Ratio(0.666)), "66.6%");
        assert_eq!(sparsity_title(Sparsity::Pattern { n: 2, m: 4 }), "2:4");
    }

    #[test]
    fn times_are_in_words() {
        assert_eq!(duration(3.12), "3.1 s");
        assert_eq!(duration(61.2), "61 s");
        assert_eq!(duration(9.97), "10 s");
        assert_eq!(duration(125.0), "2 min 5 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}
