//! Numbers in JSON, which has no infinity: those that are not finite are written as text.

use super::Metric;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::collections::BTreeMap;

/// A number as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenNumber {
    Number(f64),
    Text(String),
}

impl From<f64> for WrittenNumber {
    fn from(number: f64) -> Self {
        if number.is_finite() { Self::Number(number) } else { Self::Text(number.to_string()) }
    }
}

impl WrittenNumber {
    fn read<E: Error>(self) -> Result<f64, E> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.parse().map_err(E::custom),
        }
    }
}

/// Writes a number.
pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    WrittenNumber::from(*number).serialize(serializer)
}

/// Reads a number.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    WrittenNumber::deserialize(deserializer)?.read()
}

/// Numbers by metric.
pub(super) mod by_metric {
    use super::{BTreeMap, Deserialize, Deserializer, Metric, Serializer, WrittenNumber};

    /// Writes them.
    pub(crate) fn serialize<S: Serializer>(
        scores: &BTreeMap<Metric, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(scores.iter().map(|(metric, score)| (metric, WrittenNumber::from(*score))))
    }

    /// Reads them.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Metric, f64>, D::Error> {
        let scores = BTreeMap::<Metric, WrittenNumber>::deserialize(deserializer)?;
        scores.into_iter().map(|(metric, score)| Ok((metric, score.read()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::Mean;

    #[test]
    fn infinity_survives() {
        let mean = Mean { mean: f64::INFINITY, low: 0.1, high: f64::NAN, items: 3, stderr: None };
        let text = serde_json::to_string(&mean).unwrap();
        assert_eq!(text, r#"{"mean":"inf","low":0.1,"high":"NaN","items":3}"#);
        let back: Mean = serde_json::from_str(&text).unwrap();
        assert!(back.mean == f64::INFINITY && back.low == 0.1 && back.high.is_nan());
    }
}
