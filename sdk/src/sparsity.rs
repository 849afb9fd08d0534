//! The target of pruning.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How much of a layer goes.
///
/// ```
/// use espalier_sdk::Sparsity;
///
/// assert_eq!("0.5".parse(), Ok(Sparsity::Ratio(0.5)));
/// assert_eq!("2:4".parse(), Ok(Sparsity::Pattern { n: 2, m: 4 }));
/// assert_eq!(Sparsity::Pattern { n: 2, m: 4 }.ratio(), 0.5);
/// // How many of 7 weights go: as many as the published codes take.
/// assert_eq!(Sparsity::Ratio(0.5).count(7), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sparsity {
    /// This share of the weights, in `[0, 1)`.
    Ratio(f64),
    /// Of every `m` contiguous weights in a row, `n` go.
    Pattern {
        /// How many of a group are pruned.
        n: usize,
        /// The size of a group.
        m: usize,
    },
}

impl Sparsity {
    /// The share of weights that goes.
    pub fn ratio(self) -> f64 {
        match self {
            Self::Ratio(ratio) => ratio,
            Self::Pattern { n, m } => n as f64 / m as f64,
        }
    }

    /// How many of `count` weights go: `int(count · ratio)`, as the published codes round.
    pub fn count(self, count: usize) -> usize {
        match self {
            Self::Ratio(ratio) => (count as f64 * ratio) as usize,
            Self::Pattern { n, m } => count / m * n,
        }
    }
}

/// A text that is not a sparsity.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParseSparsityError {
    /// Neither a number nor `N:M`.
    #[error("`{0}` is not a sparsity: write a ratio such as 0.5 or a pattern such as 2:4")]
    Malformed(String),
    /// The share is not in `[0, 1)`.
    #[error("sparsity {0} is outside [0, 1)")]
    OutOfRange(String),
    /// The pattern would prune whole groups, or nothing.
    #[error("pattern {n}:{m} is not possible: N of every M weights are pruned, so 0 < N < M must hold")]
    Pattern {
        /// Pruned per group.
        n: usize,
        /// Group size.
        m: usize,
    },
}

impl FromStr for Sparsity {
    type Err = ParseSparsityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseSparsityError::Malformed(text.to_owned());
        if let Some((n, m)) = text.split_once(':') {
            let n = n.trim().parse().map_err(|_| malformed())?;
            let m = m.trim().parse().map_err(|_| malformed())?;
            return if 0 < n && n < m {
                Ok(Self::Pattern { n, m })
            } else {
                Err(ParseSparsityError::Pattern { n, m })
            };
        }
        let ratio: f64 = text.trim().parse().map_err(|_| malformed())?;
        if (0.0..1.0).contains(&ratio) {
            Ok(Self::Ratio(ratio))
        } else {
            Err(ParseSparsityError::OutOfRange(text.to_owned()))
        }
    }
}

impl fmt::Display for Sparsity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(ratio) => write!(f, "{ratio}"),
            Self::Pattern { n, m } => write!(f, "{n}:{m}"),
        }
    }
}

impl TryFrom<String> for Sparsity {
    type Error = ParseSparsityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Sparsity> for String {
    fn from(sparsity: Sparsity) -> Self {
        sparsity.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_shares_and_patterns() {
        assert_eq!("0.5".parse(), Ok(Sparsity::Ratio(0.5)));
        assert_eq!("2:4".parse(), Ok(Sparsity::Pattern { n: 2, m: 4 }));
        for text in ["", "half", "0.5:4", "2:", "-1:4"] {
            assert!(matches!(text.parse::<Sparsity>(), Err(ParseSparsityError::Malformed(_))), "{text}");
        }
        for text in ["1", "-0.1", "1.5", "NaN", "inf"] {
            assert!(matches!(text.parse::<Sparsity>(), Err(ParseSparsityError::OutOfRange(_))), "{text}");
        }
        for text in ["4:4", "0:4", "5:4", "0:0"] {
            assert!(matches!(text.parse::<Sparsity>(), Err(ParseSparsityError::Pattern { .. })), "{text}");
        }
    }

    #[test]
    fn counts_as_the_published_codes_round() {
        assert_eq!(Sparsity::Ratio(0.7).count(96), 67);
        assert_eq!(Sparsity::Pattern { n: 2, m: 4 }.count(96), 48);
    }
}
