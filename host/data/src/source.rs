//! Sources of data, and how they are read.

use super::{CalibrationError, Fields, Prompt};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, str::FromStr};

/// A file or folder of data, with its share of what is drawn: `PATH` or `PATH:WEIGHT`.
///
/// A number behind the last colon is a weight; a path that ends like that is written with a weight of its
/// own (`odd:1:1`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source {
    /// The file or folder.
    pub path: PathBuf,
    /// Its weight beside the other sources, which weigh 1 by default.
    pub weight: Option<f64>,
}

impl Source {
    /// A file or folder without a weight.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), weight: None }
    }
}

impl FromStr for Source {
    type Err = CalibrationError;

    fn from_str(text: &str) -> Result<Self, CalibrationError> {
        let weighted = text.rsplit_once(':').and_then(|(path, weight)| Some((path, weight.parse().ok()?)));
        match weighted {
            Some((path, weight)) if !path.is_empty() => {
                let source = Self { path: path.into(), weight: Some(weight) };
                source.check()?;
                Ok(source)
            }
            _ => Ok(Self::new(text)),
        }
    }
}

impl Source {
    /// Whether the weight can be one.
    fn check(&self) -> Result<(), CalibrationError> {
        match self.weight {
            Some(weight) if !(weight.is_finite() && weight >= 0.0) => {
                Err(CalibrationError::Weight { path: self.path.clone(), weight })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.weight.map_or(Ok(()), |weight| write!(f, ":{weight}"))
    }
}

impl TryFrom<String> for Source {
    type Error = CalibrationError;

    fn try_from(text: String) -> Result<Self, CalibrationError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

/// Checks that the weights can be shares of something.
///
/// # Errors
/// A weight that is negative or no number, or weights that are all 0.
pub(super) fn check_weights(sources: &[Source]) -> Result<(), CalibrationError> {
    sources.iter().try_for_each(Source::check)?;
    if !sources.is_empty() && sources.iter().all(|source| source.weight == Some(0.0)) {
        return Err(CalibrationError::Weights);
    }
    Ok(())
}

/// How data is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reading {
    /// The keys of rows that name their fields in their own way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Fields>,
    /// How rows become text; by their shape by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// Whether a row that cannot be used stops the run instead of being skipped and counted.
    pub strict: bool,
    /// Data that must not be met again: rows that share 13 words in a row with it are dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_behind_the_last_colon_is_a_weight() {
        for (text, path, weight) in [
            ("a.json", "a.json", None),
            ("a.json:0.3", "a.json", Some(0.3)),
            ("C:\\a.json", "C:\\a.json", None),
            ("C:\\a.json:2", "C:\\a.json", Some(2.0)),
            ("odd:1:1", "odd:1", Some(1.0)),
            (":1", ":1", None),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!((source.path.to_str().unwrap(), source.weight), (path, weight));
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn impossible_weights_are_refused() {
        for text in ["a:-1", "a:nan", "a:inf"] {
            let message = text.parse::<Source>().unwrap_err().to_string();
            assert!(message.contains("a has the weight"), "{message}");
        }
        let weighted = |weight| Source { path: "a".into(), weight };
        assert!(matches!(check_weights(&[weighted(Some(0.0))]), Err(CalibrationError::Weights)));
        assert!(matches!(check_weights(&[weighted(Some(-1.0))]), Err(CalibrationError::Weight { .. })));
        check_weights(&[weighted(Some(0.0)), weighted(None)]).unwrap();
    }

    #[test]
    fn a_reading_is_written_as_it_is_typed() {
        let text = r#"{"fields":"text=body","prompt":"alpaca","strict":true,"exclude":["eval.jsonl"]}"#;
        let reading: Reading = serde_json::from_str(text).unwrap();
        assert_eq!(reading.prompt, Some(Prompt::Alpaca));
        assert_eq!(serde_json::to_string(&reading).unwrap(), text);
        assert!(serde_json::from_str::<Reading>(r#"{"promt": "raw"}"#).is_err());
        assert_eq!(serde_json::from_str::<Reading>("{}").unwrap(), Reading::default());
    }
}
