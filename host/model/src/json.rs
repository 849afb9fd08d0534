//! Reading JSON objects key by key, so that a wrong one is named by file and key.

use super::config_error::ConfigError;
use espalier_base::files::{self, Limit};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// An object of a JSON file, which remembers where it stands.
#[derive(Debug)]
pub struct Object {
    path: PathBuf,
    /// The keys above it, each followed by a dot.
    prefix: String,
    map: Map<String, Value>,
}

impl Object {
    /// Reads a file that holds one JSON object.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = files::read(path, Limit::CONFIG)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        if super::is_lfs_pointer(&bytes) {
            return Err(ConfigError::LfsPointer { path: path.to_owned() });
        }
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|source| ConfigError::Json { path: path.to_owned(), source })?;
        match value {
            Value::Object(map) => Ok(Self { path: path.to_owned(), prefix: String::new(), map }),
            other => Err(ConfigError::Type {
                path: path.to_owned(),
                key: "the file".to_owned(),
                expected: "a JSON object",
                found: kind(&other),
            }),
        }
    }

    /// The value of a key, unless it is absent or null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether a key is there, even if it is null.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    fn read_as<T>(
        &self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(self.wrong(key, expected, value)),
        }
    }

    fn wrong(&self, key: &str, expected: &'static str, found: &Value) -> ConfigError {
        ConfigError::Type { path: self.path.clone(), key: self.name(key), expected, found: kind(found) }
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A number from 0.
    pub fn whole(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.read_as(key, "a whole number", |value| value.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    /// A size: a number from 1 to 2³¹ − 1.
    pub fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        match self.whole(key)? {
            Some(0) => Err(self.bad(key, "it is 0, but must be at least 1")),
            Some(n) if n > i32::MAX as usize => Err(self.bad(key, format!("{n} is beyond any model"))),
            found => Ok(found),
        }
    }

    /// A finite number.
    pub fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.read_as(key, "a number", |value| value.as_f64().filter(|x| x.is_finite()))
    }

    /// A finite number above 0.
    pub fn positive(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        match self.number(key)? {
            Some(x) if x <= 0.0 => Err(self.bad(key, format!("it is {x}, but must be above 0"))),
            found => Ok(found),
        }
    }

    /// A flag.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.read_as(key, "true or false", Value::as_bool)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.read_as(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A list of strings.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        self.read_as(key, "a list of strings", |value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        })
    }

    /// A token number or a list of them; none if the key is absent. -1 stands for none, as in LLaMA's first configurations.
    pub fn tokens(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        let token = |value: &Value| match value.as_i64()? {
            -1 => Some(None),
            id => u32::try_from(id).ok().map(Some),
        };
        let found = self.read_as(key, "a token number or a list of them", |value| {
            let ids: Option<Vec<Option<u32>>> = match value {
                Value::Array(items) => items.iter().map(token).collect(),
                other => token(other).map(|id| vec![id]),
            };
            Some(ids?.into_iter().flatten().collect())
        })?;
        Ok(found.unwrap_or_default())
    }

    /// A token given as a string or as `{"content": …}`.
    pub fn token_text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.read_as(key, "a token", |value| {
            value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
        })
    }

    /// A list of tokens, each a string or `{"content": …}`; none if the key is absent, or holds something else than a list.
    pub fn token_texts(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        if !self.get(key).is_some_and(Value::is_array) {
            return Ok(Vec::new());
        }
        let found = self.read_as(key, "a list of tokens", |value| {
            let token =
                |item: &Value| item.as_str().or_else(|| item.get("content")?.as_str()).map(str::to_owned);
            value.as_array()?.iter().map(token).collect()
        })?;
        Ok(found.unwrap_or_default())
    }

    /// The `chat_template` of a tokenizer's configuration: a template, or the one named `default` of a list; and the one
    /// named `tool_use`, if there is one.
    pub fn chat_template(&self) -> Result<Option<(String, Option<String>)>, ConfigError> {
        let expected = "a template, or a list of templates of which one is named `default`";
        self.read_as("chat_template", expected, |value| match value {
            Value::Array(all) => {
                let named = |name: &str| {
                    let one = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name))?;
                    one.get("template")?.as_str().map(str::to_owned)
                };
                Some((named("default")?, named("tool_use")))
            }
            other => Some((other.as_str()?.to_owned(), None)),
        })
    }

    /// An object under a key.
    pub fn object(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        let map = self.read_as(key, "an object", |value| value.as_object().cloned())?;
        let prefix = format!("{}{key}.", self.prefix);
        Ok(map.map(|map| Self { path: self.path.clone(), prefix, map }))
    }

    /// The value, or an error that names the missing key.
    pub fn required<T>(&self, key: &str, found: Option<T>) -> Result<T, ConfigError> {
        found.ok_or_else(|| ConfigError::Missing { path: self.path.clone(), key: self.name(key) })
    }

    /// An error about a value that is of the right type, but impossible.
    pub fn bad(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::Value { path: self.path.clone(), key: self.name(key), message: message.into() }
    }
}

/// A value in a few words, for messages.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let short: String = text.chars().take(40).collect();
            let dots = if short.len() < text.len() { "…" } else { "" };
            format!("the string \"{short}{dots}\"")
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
