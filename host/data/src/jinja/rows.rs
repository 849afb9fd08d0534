//! Jinja as lm-evaluation-harness sets it up for the rows of a task.

use super::{Jinja, NAME, environment, json, line_ends, wrong};
use minijinja::{Error, UndefinedBehavior, Value, syntax::SyntaxConfig, value::ValueKind};
use regex::Regex;
use std::collections::BTreeSet;

impl Jinja {
    /// Compiles a template over a row. An undefined name is an error, and the last line end is kept.
    ///
    /// # Errors
    /// The text is not a template.
    pub(crate) fn of_rows(source: &str) -> Result<Self, Error> {
        let mut environment = environment()?;
        environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_formatter(|out, state, value| match value.kind() {
            ValueKind::Number if !value.is_integer() => Ok(out.write_str(&json::number(value)?)?),
            ValueKind::Bool => Ok(out.write_str(if value.is_true() { "True" } else { "False" })?),
            ValueKind::None => Ok(out.write_str("None")?),
            _ => minijinja::escape_formatter(out, state, value),
        });
        environment.add_filter("regex_replace", regex_replace);
        environment.add_template_owned(NAME, line_ends(source))?;
        Ok(Self { environment })
    }

    /// Compiles an expression over a row.
    ///
    /// # Errors
    /// The text is not an expression.
    pub(crate) fn expression_of_rows(source: &str) -> Result<Self, Error> {
        // Whatever closes the tag early would be a template and no expression.
        environment()?.compile_expression(source)?;
        Self::of_rows(&format!("{{% set {RESULT} = ({source}) %}}"))
    }

    /// The value of an [expression](Self::expression_of_rows).
    ///
    /// # Errors
    /// The expression fails.
    pub(crate) fn evaluate(&self, values: Value) -> Result<Value, Error> {
        let template = self.environment.get_template(NAME)?;
        let done = template.render_captured(values)?;
        Ok(done.state().lookup(RESULT).unwrap_or_default())
    }

    /// The names that a template or an expression takes from the row, in order.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let template = self.environment.get_template(NAME);
        template
            .map(|template| template.undeclared_variables(false).into_iter().collect())
            .unwrap_or_default()
    }
}

/// The name that the value of an expression has in its template.
const RESULT: &str = "value_of_this_expression";

/// Python's `re.sub`.
fn regex_replace(
    text: &str,
    pattern: &str,
    replacement: &str,
    count: Option<usize>,
) -> Result<String, Error> {
    let pattern = Regex::new(pattern).map_err(|error| wrong(format!("regex_replace: {error}")))?;
    let replacement = groups(replacement);
    Ok(pattern.replacen(text, count.unwrap_or(0), replacement.as_str()).into_owned())
}

/// A replacement in which groups stand as Python writes them (`\1`), as `regex` writes them.
fn groups(replacement: &str) -> String {
    let mut out = String::with_capacity(replacement.len());
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('$', _) => out.push_str("$$"),
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                out.push_str(&format!("${{{digit}}}"));
                chars.next();
            }
            ('\\', Some('n')) => {
                out.push('\n');
                chars.next();
            }
            ('\\', Some('\\')) => {
                out.push('\\');
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}
