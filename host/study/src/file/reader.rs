//! Reading TOML by hand, so that whatever is wrong has its place, and short forms cost nothing.

use espalier_sdk::Sparsity;
use std::{fmt::Display, ops::Range, str::FromStr};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value, and the bytes of the file it stands in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it stands.
    pub(crate) span: Range<usize>,
}

impl<T> At<T> {
    /// Another value at the same place.
    pub(crate) fn with<U>(&self, value: U) -> At<U> {
        At { value, span: self.span.clone() }
    }
}

/// A problem and its place.
#[derive(Debug)]
pub(crate) struct Problem {
    /// Where it stands.
    pub(crate) span: Range<usize>,
    /// The problem.
    pub(crate) message: String,
    /// Why.
    pub(crate) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Problem {
    /// A problem at a place.
    pub(crate) fn new(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self { span: span.clone(), message: message.into(), source: None }
    }

    /// A problem at a place, and its cause.
    pub(crate) fn because(
        span: &Range<usize>,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { span: span.clone(), message: message.into(), source: Some(Box::new(source)) }
    }
}

pub(super) type Result<T> = std::result::Result<T, Problem>;

/// How a value is read.
pub(super) type Read<T> = fn(&Spanned<DeValue>) -> Result<T>;

/// A table, of which every key is asked for and none is left over.
pub(super) struct Section<'a> {
    name: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// A table of this name; the whole file's is empty.
    pub(super) fn new(name: impl Into<String>, span: Range<usize>, table: &'a DeTable<'a>) -> Self {
        Self { name: name.into(), span, table, known: Vec::new() }
    }

    /// Where the table stands.
    pub(super) fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// The value of a key, untouched.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// The value of a key, if it is there.
    pub(super) fn get<T>(&mut self, key: &'static str, read: Read<T>) -> Result<Option<T>> {
        self.value(key).map(read).transpose()
    }

    /// The values of a key that takes one or a list; none where it is not there.
    pub(super) fn list<T>(&mut self, key: &'static str, read: Read<T>) -> Result<Vec<T>> {
        self.value(key).map_or(Ok(Vec::new()), |value| many(value, read))
    }

    /// The value of a key that must be there.
    pub(super) fn need<T>(&mut self, key: &'static str, read: Read<T>) -> Result<T> {
        let missing = Problem::new(&self.span, format!("{} lacks `{key}`", self.described()));
        self.get(key, read)?.ok_or(missing)
    }

    /// Refuses keys that nobody asked for.
    pub(super) fn finish(self) -> Result<()> {
        match self.table.keys().find(|key| !self.known.contains(&key.get_ref().as_ref())) {
            None => Ok(()),
            Some(key) => {
                let (known, name) = (self.known.join(", "), key.get_ref());
                let message = format!("unknown key `{name}` in {}; there are {known}", self.described());
                Err(Problem::new(&key.span(), message))
            }
        }
    }

    fn described(&self) -> String {
        if self.name.is_empty() { "the study".to_owned() } else { format!("[{}]", self.name) }
    }
}

/// A text.
pub(super) fn text(value: &Spanned<DeValue>) -> Result<At<String>> {
    let text = value.get_ref().as_str().ok_or_else(|| unlike(value, "a text"))?;
    Ok(At { value: text.to_owned(), span: value.span() })
}

/// A text that is not empty.
pub(super) fn path(value: &Spanned<DeValue>) -> Result<At<String>> {
    let path = text(value)?;
    if path.value.is_empty() { Err(unlike(value, "a path")) } else { Ok(path) }
}

/// A text that means something.
pub(super) fn parsed<T: FromStr<Err: Display>>(value: &Spanned<DeValue>) -> Result<At<T>> {
    let text = text(value)?;
    let parsed = text.value.parse().map_err(|error: T::Err| Problem::new(&text.span, error.to_string()))?;
    Ok(text.with(parsed))
}

/// A whole number.
pub(super) fn integer(value: &Spanned<DeValue>) -> Result<At<u64>> {
    let found = value.get_ref().as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
    let value_of = found.ok_or_else(|| unlike(value, "a whole number that is not negative"))?;
    Ok(At { value: value_of, span: value.span() })
}

/// A whole number that counts something.
pub(super) fn count(value: &Spanned<DeValue>) -> Result<At<usize>> {
    let number = integer(value)?;
    match usize::try_from(number.value) {
        Ok(count) if count > 0 => Ok(number.with(count)),
        _ => Err(unlike(value, "a number of things, 1 or more,")),
    }
}

/// `true` or `false`.
pub(super) fn flag(value: &Spanned<DeValue>) -> Result<bool> {
    value.get_ref().as_bool().ok_or_else(|| unlike(value, "`true` or `false`"))
}

/// A sparsity: a number, or a text such as `2:4`.
pub(super) fn sparsity(value: &Spanned<DeValue>) -> Result<At<Sparsity>> {
    let due = "a sparsity, such as 0.5 or \"2:4\",";
    let text = scalar(value).map_err(|_| unlike(value, due))?;
    let parsed =
        text.value.parse().map_err(|error| Problem::because(&text.span, "this is not a sparsity", error))?;
    Ok(text.with(parsed))
}

/// A text, number, `true` or `false`, as it would be typed on the command line.
pub(super) fn scalar(value: &Spanned<DeValue>) -> Result<At<String>> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.as_ref().to_owned(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            return Err(unlike(value, "a text, a number, `true` or `false`"));
        }
    };
    Ok(At { value: text, span: value.span() })
}

/// A list, or one value instead.
pub(super) fn many<T>(value: &Spanned<DeValue>, read: Read<T>) -> Result<Vec<T>> {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().map(read).collect(),
        _ => Ok(vec![read(value)?]),
    }
}

/// The entries of a table, in the order of the file.
pub(super) fn entries<T>(
    value: &Spanned<DeValue>,
    mut read: impl FnMut(&At<String>, &Spanned<DeValue>) -> Result<T>,
) -> Result<Vec<T>> {
    let table = value.get_ref().as_table().ok_or_else(|| unlike(value, "a table"))?;
    let entries = table
        .iter()
        .map(|(key, value)| read(&At { value: key.get_ref().as_ref().to_owned(), span: key.span() }, value));
    entries.collect()
}

/// A value of the wrong type or range.
pub(super) fn unlike(value: &Spanned<DeValue>, due: &str) -> Problem {
    let found = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    // A number where another number is expected: its type is not what is wrong.
    let message = if due.starts_with(found) {
        format!("expected {due}")
    } else {
        format!("expected {due}, found {found}")
    };
    Problem::new(&value.span(), message)
}
