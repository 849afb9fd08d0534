//! Numbers in JSON, which has no infinity: those that are not finite are written as text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

/// Writes a number.
pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let written =
        if number.is_finite() { Written::Number(*number) } else { Written::Text(number.to_string()) };
    written.serialize(serializer)
}

/// Reads a number.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use crate::study::report::Mean;

    #[test]
    fn infinity_survives() {
        let mean = Mean { mean: f64::INFINITY, low: 0.1, high: f64::NAN, items: 3 };
        let text = serde_json::to_string(&mean).unwrap();
        assert_eq!(text, r#"{"mean":"inf","low":0.1,"high":"NaN","items":3}"#);
        let back: Mean = serde_json::from_str(&text).unwrap();
        assert!(back.mean == f64::INFINITY && back.low == 0.1 && back.high.is_nan());
    }
}
