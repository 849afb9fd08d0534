//! Templates and expressions over the fields of rows, by which a task makes its text of them. The language is that of
//! lm-evaluation-harness: jinja2 with strict undefined names, line ends kept, and the filter `regex_replace`.

use super::{CalibrationError, Row, jinja::Jinja};
use minijinja::{Error, ErrorKind, Value, context, value::Serde, value::ValueKind};

/// Text over the fields of a row.
#[derive(Debug)]
pub struct RowTemplate {
    name: String,
    jinja: Box<Jinja>,
}

/// A value over the fields of a row: a name, or an expression such as `choices.label.index(answerKey)`.
#[derive(Debug)]
pub struct RowExpression {
    name: String,
    jinja: Box<Jinja>,
}

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowValue {
    /// A text.
    Text(String),
    /// A whole number; true is 1, and false 0.
    Number(i64),
    /// A list.
    List(Vec<Self>),
    /// Anything else, by its kind.
    Other(String),
}

impl RowTemplate {
    /// A template that messages call `name`.
    ///
    /// # Errors
    /// The text is not a template: why, in one line.
    pub fn new(name: impl Into<String>, source: &str) -> Result<Self, String> {
        let jinja = Jinja::of_rows(source).map_err(|error| problem(&error))?;
        Ok(Self { name: name.into(), jinja: Box::new(jinja) })
    }

    /// The text of a row, of which `place` says where it is from.
    ///
    /// # Errors
    /// The row lacks a field, or the template fails on what is in it.
    pub fn render(&self, row: &Row, place: impl Fn() -> String) -> Result<String, CalibrationError> {
        let text = self.jinja.render(Value::from(Serde(row)));
        text.map_err(|error| unfit(&self.name, &self.jinja, row, place(), &error))
    }

    /// The text of one of a row's choices, which the template knows as `choice`.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_choice(
        &self,
        row: &Row,
        choice: &str,
        place: impl Fn() -> String,
    ) -> Result<String, CalibrationError> {
        let text = self.jinja.render(context! { choice, ..Value::from(Serde(row)) });
        text.map_err(|error| unfit(&self.name, &self.jinja, row, place(), &error))
    }
}

impl RowExpression {
    /// An expression that messages call `name`.
    ///
    /// # Errors
    /// The text is not an expression: why, in one line.
    pub fn new(name: impl Into<String>, source: &str) -> Result<Self, String> {
        let jinja = Jinja::expression_of_rows(source).map_err(|error| problem(&error))?;
        Ok(Self { name: name.into(), jinja: Box::new(jinja) })
    }

    /// The value for a row, of which `place` says where it is from.
    ///
    /// # Errors
    /// The row lacks a field, or the expression fails on what is in it.
    pub fn evaluate(&self, row: &Row, place: impl Fn() -> String) -> Result<RowValue, CalibrationError> {
        let found = self.jinja.evaluate(Value::from(Serde(row)));
        found.and_then(RowValue::of).map_err(|error| unfit(&self.name, &self.jinja, row, place(), &error))
    }
}

impl RowValue {
    fn of(value: Value) -> Result<Self, Error> {
        Ok(match value.kind() {
            ValueKind::String => Self::Text(value.as_str().unwrap_or_default().to_owned()),
            ValueKind::Bool => Self::Number(value.is_true().into()),
            ValueKind::Number if value.is_integer() => Self::Number(i64::try_from(value)?),
            ValueKind::Seq | ValueKind::Iterable => {
                Self::List(value.try_iter()?.map(Self::of).collect::<Result<_, _>>()?)
            }
            ValueKind::Undefined => return Err(ErrorKind::UndefinedError.into()),
            other => Self::Other(other.to_string()),
        })
    }

    /// A description for messages.
    pub fn kind(&self) -> &str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::List(_) => "a list",
            Self::Other(kind) => kind,
        }
    }
}

/// An error's message with what is behind it, in one line.
fn problem(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) if line > 1 => format!("{detail} (line {line} of it)"),
        _ => detail,
    }
}

/// The error of a row: the field that it lacks, where that is what is wrong.
fn unfit(what: &str, jinja: &Jinja, row: &Row, place: String, error: &Error) -> CalibrationError {
    let missing =
        jinja.names().into_iter().find(|name| name != "choice" && row.names().all(|has| has != name));
    let problem = match missing {
        Some(name) => {
            let names: Vec<_> = row.names().take(12).map(|name| format!("`{name}`")).collect();
            format!("the row has no field `{name}`, only {}", names.join(", "))
        }
        None => problem(error),
    };
    CalibrationError::Fit { place, what: what.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: &str) -> Row {
        let value: crate::json::Json = serde_json::from_str(json).unwrap();
        Row::new(value.into_owned())
    }

    fn render(source: &str, json: &str) -> Result<String, String> {
        let template = RowTemplate::new("context", source).unwrap();
        template.render(&row(json), || "a.jsonl, line 3".to_owned()).map_err(|error| error.to_string())
    }

    fn evaluate(source: &str, json: &str) -> Result<RowValue, String> {
        let expression = RowExpression::new("gold", source).unwrap();
        expression.evaluate(&row(json), || "a.jsonl, line 3".to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn templates_are_those_of_the_harness() {
        // As jinja2 3.1 with lm_eval.utils.env renders them.
        for (source, json, expected) in [
            ("{{a}}\nB:\n\n", r#"{"a": "x"}"#, "x\nB:\n\n"),
            ("{{a}} {{b}} {{c}}", r#"{"a": true, "b": null, "c": 3.5}"#, "True None 3.5"),
            ("{% if a %}\n  y{% endif %}", r#"{"a": 1}"#, "\n  y"),
            ("{{text.split(' ')[:-1]|join(' ')}}", r#"{"text": "a  b c"}"#, "a  b"),
            ("{{' '+text.split(' ')[-1]}}", r#"{"text": "a  b é."}"#, " é."),
            (r"{{a|regex_replace('\\[.*?\\]', '')}}", r#"{"a": "x [b] y [c]."}"#, "x  y ."),
            (r"{{a|regex_replace('(b)(c)', '\\2$\\1')}}", r#"{"a": "abc"}"#, "ac$b"),
            ("{{s.partition('_')[2].strip()}}", r#"{"s": "a _ b _ c "}"#, "b _ c"),
            ("{{a.capitalize()}}", r#"{"a": "éCOLE Bleue"}"#, "École bleue"),
        ] {
            assert_eq!(render(source, json).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn expressions_have_values() {
        let arc = r#"{"choices": {"text": ["é", "b"], "label": ["A", "B"]}, "answerKey": " B", "yes": true}"#;
        let texts = ["é", "b"].map(|text| RowValue::Text(text.to_owned()));
        assert_eq!(evaluate("choices.text", arc), Ok(RowValue::List(texts.to_vec())));
        assert_eq!(evaluate("choices.label.index(answerKey.lstrip())", arc), Ok(RowValue::Number(1)));
        assert_eq!(evaluate("yes", arc), Ok(RowValue::Number(1)));
        assert_eq!(evaluate("choices", arc).unwrap().kind(), "map");
    }

    #[test]
    fn a_missing_field_is_named() {
        let message = "a.jsonl, line 3 does not fit `context`: the row has no field `b`, only `a`";
        assert_eq!(render("{{a}} {{b}}", r#"{"a": 1}"#), Err(message.to_owned()));
        let message = evaluate("b.index(a)", r#"{"a": 1}"#).unwrap_err();
        assert!(message.ends_with("does not fit `gold`: the row has no field `b`, only `a`"), "{message}");
        let message = evaluate("[a, b]", r#"{"a": 1}"#).unwrap_err();
        assert!(message.ends_with("does not fit `gold`: the row has no field `b`, only `a`"), "{message}");
        let message = evaluate("a.index('x')", r#"{"a": ["y"]}"#).unwrap_err();
        assert!(
            message.ends_with("does not fit `gold`: list.index: the value is not in the list"),
            "{message}"
        );
        assert!(RowTemplate::new("context", "{{ a").unwrap_err().contains("unexpected end"));
        assert!(RowExpression::new("gold", "a +").is_err());
    }
}
