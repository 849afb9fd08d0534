//! Options of methods and selectors: declared by the plugin, checked by the host, read back typed.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, ops::RangeInclusive};

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OptionKind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// Text.
    String,
}

impl OptionKind {
    /// Reads a value of this type from what a user typed.
    ///
    /// # Errors
    /// The text is of another type.
    pub fn parse(self, text: &str) -> Result<Value> {
        let value = match self {
            Self::Bool => text.parse::<bool>().ok().map(Value::from),
            Self::Integer => text.parse::<i64>().ok().map(Value::from),
            Self::Float => text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::from),
            Self::String => Some(Value::from(text)),
        };
        value.ok_or_else(|| Error::invalid(format!("`{text}` is not {}", self.described())))
    }

    fn described(self) -> &'static str {
        match self {
            Self::Bool => "a bool (true or false)",
            Self::Integer => "a whole number",
            Self::Float => "a number",
            Self::String => "a text",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Bool => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Float => value.is_number(),
            Self::String => value.is_string(),
        }
    }
}

/// One option that a method or selector takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    /// Its name, as in `--option NAME=VALUE`.
    pub name: String,
    /// The type of its value.
    pub kind: OptionKind,
    /// The value where none is given.
    pub default: Value,
    /// A summary in one line.
    pub summary: String,
    /// The values of its type that it may have.
    #[serde(default)]
    pub allowed: Allowed,
}

/// The values that an option may have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Allowed {
    /// All of its type.
    #[default]
    Any,
    /// Numbers in a range, which includes its ends; an end that is missing is no bound.
    Range(Option<f64>, Option<f64>),
    /// One of these texts.
    Choices(Vec<String>),
}

impl Allowed {
    /// A range of numbers; an infinite end is no bound.
    pub fn range(range: RangeInclusive<f64>) -> Self {
        let bound = |end: &f64| Some(*end).filter(|end| end.is_finite());
        Self::Range(bound(range.start()), bound(range.end()))
    }

    fn has(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Range(from, to) => value.as_f64().is_some_and(|value| {
                from.is_none_or(|from| value >= from) && to.is_none_or(|to| value <= to)
            }),
            Self::Choices(choices) => {
                value.as_str().is_some_and(|value| choices.iter().any(|choice| choice == value))
            }
        }
    }
}

/// In words that follow "must be"; nothing where all values are allowed.
impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any | Self::Range(None, None) => Ok(()),
            Self::Range(Some(from), None) => write!(f, "at least {from}"),
            Self::Range(None, Some(to)) => write!(f, "at most {to}"),
            Self::Range(Some(from), Some(to)) => write!(f, "from {from} to {to}"),
            Self::Choices(choices) => write!(f, "one of {}", choices.join(", ")),
        }
    }
}

impl OptionSpec {
    /// Reads a value from what a user typed.
    ///
    /// # Errors
    /// The text is of another type, or the value is not allowed.
    pub fn parse(&self, text: &str) -> Result<Value> {
        let value = self.kind.parse(text)?;
        self.check(&value)?;
        Ok(value)
    }

    /// Checks a value.
    ///
    /// # Errors
    /// It is of another type, or not allowed.
    pub fn check(&self, value: &Value) -> Result<()> {
        let name = &self.name;
        if !self.kind.holds(value) {
            let wanted = self.kind.described();
            return Err(Error::invalid(format!("option `{name}` is {value}, which is not {wanted}")));
        }
        if !self.allowed.has(value) {
            return Err(Error::invalid(format!("option `{name}` is {value}, but must be {}", self.allowed)));
        }
        Ok(())
    }
}

/// The functions that declare options, the same for methods and selectors.
macro_rules! option_builders {
    () => {
        /// Adds an option.
        #[must_use]
        pub fn option(
            mut self,
            name: impl Into<String>,
            kind: OptionKind,
            default: impl Into<Value>,
            summary: impl Into<String>,
        ) -> Self {
            self.options.push(OptionSpec {
                name: name.into(),
                kind,
                default: default.into(),
                summary: summary.into(),
                allowed: Allowed::Any,
            });
            self
        }

        /// Limits the option before it to numbers in this range; an infinite end is no bound.
        #[must_use]
        pub fn range(self, range: std::ops::RangeInclusive<f64>) -> Self {
            self.allow(Allowed::range(range))
        }

        /// Limits the option before it to these texts.
        #[must_use]
        pub fn choices(self, choices: &[&str]) -> Self {
            self.allow(Allowed::Choices(choices.iter().map(|&choice| choice.to_owned()).collect()))
        }

        fn allow(mut self, allowed: Allowed) -> Self {
            if let Some(spec) = self.options.last_mut() {
                spec.allowed = allowed;
            }
            self
        }
    };
}
pub(crate) use option_builders;

/// The values of a method's or selector's options: what was given, over the defaults.
///
/// ```
/// use espalier_sdk::*;
///
/// struct Scaled {
///     alpha: f64,
/// }
///
/// fn new(options: &Options) -> Result<Scaled> {
///     // The host has checked that it is there, of this type and in its range.
///     Ok(Scaled { alpha: options.float("alpha")? })
/// }
/// # let info = MethodInfo::new("m", "…").option("alpha", OptionKind::Float, 0.5, "a factor");
/// # assert_eq!(new(&Options::resolve(&info.options, &Default::default()).unwrap()).unwrap().alpha, 0.5);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options(Map<String, Value>);

impl Options {
    /// The given values over the defaults of `specs`.
    ///
    /// # Errors
    /// A name that `specs` does not have, or a value of another type or that is not allowed.
    pub fn resolve(specs: &[OptionSpec], given: &Map<String, Value>) -> Result<Self> {
        let mut values: Map<_, _> = specs.iter().map(|s| (s.name.clone(), s.default.clone())).collect();
        for (name, value) in given {
            let Some(spec) = specs.iter().find(|spec| &spec.name == name) else {
                let known: Vec<_> = specs.iter().map(|s| s.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Error::invalid(format!("unknown option `{name}` (known: {known})")));
            };
            spec.check(value)?;
            values.insert(name.clone(), value.clone());
        }
        Ok(Self(values))
    }

    /// The value of a [`OptionKind::Bool`] option.
    ///
    /// # Errors
    /// No such option was declared, or it is of another type.
    pub fn bool(&self, name: &str) -> Result<bool> {
        self.get(name, Value::as_bool)
    }

    /// The value of a [`OptionKind::Integer`] option.
    ///
    /// # Errors
    /// As [`Options::bool`].
    pub fn integer(&self, name: &str) -> Result<i64> {
        self.get(name, Value::as_i64)
    }

    /// The value of a [`OptionKind::Float`] option.
    ///
    /// # Errors
    /// As [`Options::bool`].
    pub fn float(&self, name: &str) -> Result<f64> {
        self.get(name, Value::as_f64)
    }

    /// The value of a [`OptionKind::String`] option.
    ///
    /// # Errors
    /// As [`Options::bool`].
    pub fn string(&self, name: &str) -> Result<&str> {
        self.get(name, Value::as_str)
    }

    /// All values, by name.
    pub fn values(&self) -> &Map<String, Value> {
        &self.0
    }

    fn get<'a, T>(&'a self, name: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T> {
        let value =
            self.0.get(name).ok_or_else(|| Error::invalid(format!("option `{name}` is not declared")))?;
        read(value).ok_or_else(|| Error::invalid(format!("option `{name}` is {value}: of another type")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn specs() -> Vec<OptionSpec> {
        vec![
            OptionSpec {
                name: "blocksize".into(),
                kind: OptionKind::Integer,
                default: json!(128),
                summary: String::new(),
                allowed: Allowed::range(1.0..=256.0),
            },
            OptionSpec {
                name: "percdamp".into(),
                kind: OptionKind::Float,
                default: json!(0.01),
                summary: String::new(),
                allowed: Allowed::range(0.0..=f64::INFINITY),
            },
            OptionSpec {
                name: "band".into(),
                kind: OptionKind::String,
                default: json!("low"),
                summary: String::new(),
                allowed: Allowed::Choices(vec!["low".into(), "high".into()]),
            },
        ]
    }

    #[test]
    fn defaults_stand_where_nothing_is_given() {
        let given = json!({"percdamp": 1}).as_object().unwrap().clone();
        let options = Options::resolve(&specs(), &given).unwrap();
        assert_eq!(options.integer("blocksize"), Ok(128));
        assert_eq!(options.float("percdamp"), Ok(1.0));
    }

    #[test]
    fn unknown_names_and_wrong_types_are_refused() {
        for (given, words) in [
            (json!({"percdmap": 0.1}), "unknown option `percdmap` (known: blocksize, percdamp, band)"),
            (json!({"blocksize": 0.5}), "option `blocksize` is 0.5, which is not a whole number"),
            (json!({"blocksize": 257}), "option `blocksize` is 257, but must be from 1 to 256"),
            (json!({"percdamp": -0.5}), "option `percdamp` is -0.5, but must be at least 0"),
            (json!({"band": "lower"}), "option `band` is \"lower\", but must be one of low, high"),
        ] {
            let error = Options::resolve(&specs(), given.as_object().unwrap()).unwrap_err();
            assert_eq!(error.message, words);
        }
        assert!(OptionKind::Float.parse("NaN").is_err());
        assert!(OptionKind::Bool.parse("yes").is_err());
    }
}
