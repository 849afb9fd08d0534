//! Data that crosses the FFI boundary as JSON: descriptions and settings, whose fields may grow.

use crate::{Error, Result};

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::invalid(format!("cannot be written as JSON: {e}")))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|e| Error::invalid(format!("the other side of the border sent JSON that does not fit: {e}")))
}
