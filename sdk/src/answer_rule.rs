//! How two answers are compared.

use serde::{Deserialize, Serialize};

/// How a written answer is compared with the answer of a row: what a regular expression finds in both, without what is
/// ignored.
///
/// ```
/// # use espalier_sdk::AnswerRule;
/// /// The last number of each, whatever stands between its digits.
/// fn last_number() -> AnswerRule {
///     AnswerRule::whole().pattern(r"-?[0-9.,]*[0-9]", -1).ignore(",")
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AnswerRule {
    /// What is compared: the first group that holds something, or all of it where there are no groups. Empty compares whole
    /// answers.
    pub pattern: String,
    /// Which of the places where it is found, from 0; from the end where negative.
    pub which: i64,
    /// Regular expressions of what is dropped from both.
    pub ignore: Vec<String>,
    /// Whether the case of letters does not count.
    pub ignore_case: bool,
    /// Whether ASCII punctuation does not count.
    pub ignore_punctuation: bool,
}

impl AnswerRule {
    /// Compares whole answers, but for the space around them.
    pub fn whole() -> Self {
        Self::default()
    }

    /// Compares what a regular expression finds, at one of its places.
    #[must_use]
    pub fn pattern(mut self, pattern: impl Into<String>, which: i64) -> Self {
        (self.pattern, self.which) = (pattern.into(), which);
        self
    }

    /// Drops what a regular expression finds from both first.
    #[must_use]
    pub fn ignore(mut self, pattern: impl Into<String>) -> Self {
        self.ignore.push(pattern.into());
        self
    }

    /// Does not tell upper from lower case.
    #[must_use]
    pub fn ignore_case(mut self) -> Self {
        self.ignore_case = true;
        self
    }

    /// Drops ASCII punctuation from both.
    #[must_use]
    pub fn ignore_punctuation(mut self) -> Self {
        self.ignore_punctuation = true;
        self
    }
}
