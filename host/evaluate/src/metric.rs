//! Metrics.

use super::EvaluateError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A metric of an item, and over all items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Whether the prediction is an answer, normalised as SQuAD does.
    ExactMatch,
    /// F1 over SQuAD's tokens.
    F1,
    /// ROUGE-1's F-measure.
    Rouge1,
    /// The same over Porter's stems.
    Rouge1Stemmed,
    /// Perplexity of running text, by the wikitext-2 protocol.
    Perplexity,
    /// Perplexity of the first reference answer and the end token behind its prompt.
    AnswerPerplexity,
    /// The mean Jensen-Shannon divergence, in nats, of the next-token distributions from the dense model's,
    /// over the positions that predict the answer and the end token, or all tokens of running text.
    JsDivergence,
    /// Whether the likeliest choice is the right one; of a single continuation, whether greedy decoding finds it.
    Acc,
    /// The same with likelihoods divided by the choices' lengths in characters, as lm-evaluation-harness 0.4 does.
    AccNorm,
    /// The same by lengths in bytes.
    AccBytes,
    /// Perplexity of whole continuations: `exp` of the mean over items, however long each is.
    TargetPerplexity,
    /// Whether what a strict pattern finds in the prediction is the answer.
    StrictMatch,
    /// Whether what a pattern that takes more finds is the answer.
    FlexibleExtract,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 13] = [
        Self::ExactMatch,
        Self::F1,
        Self::Rouge1,
        Self::Rouge1Stemmed,
        Self::Perplexity,
        Self::AnswerPerplexity,
        Self::JsDivergence,
        Self::Acc,
        Self::AccNorm,
        Self::AccBytes,
        Self::TargetPerplexity,
        Self::StrictMatch,
        Self::FlexibleExtract,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::F1 => "f1",
            Self::Rouge1 => "rouge1",
            Self::Rouge1Stemmed => "rouge1_stemmed",
            Self::Perplexity => "perplexity",
            Self::AnswerPerplexity => "answer_perplexity",
            Self::JsDivergence => "js_divergence",
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::AccBytes => "acc_bytes",
            Self::TargetPerplexity => "target_perplexity",
            Self::StrictMatch => "strict_match",
            Self::FlexibleExtract => "flexible_extract",
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        self.of_text() || matches!(self, Self::Acc | Self::AccNorm | Self::AccBytes)
    }

    /// Whether it is measured on what the model writes.
    pub fn of_text(self) -> bool {
        matches!(
            self,
            Self::ExactMatch
                | Self::F1
                | Self::Rouge1
                | Self::Rouge1Stemmed
                | Self::StrictMatch
                | Self::FlexibleExtract
        )
    }

    /// Whether it is a mean over tokens, so that longer items weigh more.
    pub fn of_tokens(self) -> bool {
        matches!(self, Self::Perplexity | Self::AnswerPerplexity | Self::JsDivergence)
    }

    /// Whether it is measured by the [definition](super::TaskDefinition) of a task alone.
    pub fn of_definition(self) -> bool {
        matches!(
            self,
            Self::Acc
                | Self::AccNorm
                | Self::AccBytes
                | Self::TargetPerplexity
                | Self::StrictMatch
                | Self::FlexibleExtract
        )
    }

    /// Whether it is `exp` of a mean loss.
    pub fn is_perplexity(self) -> bool {
        matches!(self, Self::Perplexity | Self::AnswerPerplexity | Self::TargetPerplexity)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = EvaluateError;

    fn from_str(name: &str) -> Result<Self, EvaluateError> {
        Self::ALL.into_iter().find(|metric| metric.name() == name).ok_or_else(|| EvaluateError::Metric {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().unwrap(), metric);
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
        let error = "bleu".parse::<Metric>().unwrap_err().to_string();
        assert!(error.starts_with("there is no metric `bleu`; choose from exact_match, f1, "), "{error}");
    }
}
