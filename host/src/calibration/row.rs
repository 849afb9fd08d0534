//! The shapes a row of JSON can have, and reading a row in its shape.

use super::prompt::alpaca_document;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The shape of a collection's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The whole file is one document.
    Plain,
    /// `text`.
    Text,
    /// `instruction`, `input` and `output`, as Alpaca has them.
    Instruction,
    /// `input_ids`, and perhaps `attention_mask`: windows as they are.
    Windows,
}

/// What a row holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Row {
    /// A document's text.
    Text(String),
    /// A window's tokens, masked ones dropped.
    Window(Vec<u32>),
}

/// Why a row cannot be used.
#[derive(Debug, PartialEq)]
pub(super) enum RowError {
    /// No JSON: where in the row, counting lines from 0, and what.
    Json { line: u64, problem: String },
    /// JSON of another shape.
    Shape { expected: String, found: String },
}

#[derive(Deserialize)]
struct TextRow<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct InstructionRow<'a> {
    #[serde(borrow)]
    instruction: Cow<'a, str>,
    #[serde(borrow, default)]
    input: Option<Cow<'a, str>>,
    #[serde(borrow)]
    output: Cow<'a, str>,
}

#[derive(Deserialize)]
struct WindowRow {
    input_ids: Vec<u32>,
    #[serde(default)]
    attention_mask: Option<Vec<u8>>,
}

/// The first value of these bytes, whatever follows.
fn first<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(bytes))
}

impl Shape {
    /// The shape of the row that these bytes begin with.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, RowError> {
        let keys = object(bytes)?;
        if keys.contains_key("input_ids") {
            Ok(Self::Windows)
        } else if keys.contains_key("text") {
            Ok(Self::Text)
        } else if keys.contains_key("instruction") {
            Ok(Self::Instruction)
        } else {
            let expected =
                "an object with `text`, with `instruction` and `output`, or with `input_ids`".to_owned();
            Err(RowError::Shape { expected, found: names(&keys) })
        }
    }

    /// What a row of this shape should be, for messages.
    fn expected(self) -> &'static str {
        match self {
            Self::Plain | Self::Text => "an object with a `text` that is a string",
            Self::Instruction => "an object with `instruction`, `output` and perhaps `input`, all strings",
            Self::Windows => {
                "an object with `input_ids`, a list of token numbers, and perhaps an `attention_mask` of 0 and 1"
            }
        }
    }

    /// Reads the row that these bytes begin with.
    pub(super) fn read(self, bytes: &[u8]) -> Result<Row, RowError> {
        if !bytes.starts_with(b"{") {
            // serde would read a list as the values of the keys in order.
            object(bytes)?;
        }
        let blank = |what: &str| Err(self.refused(format!("{what} that is empty")));
        match self {
            Self::Plain | Self::Text => match first::<TextRow>(bytes) {
                Ok(row) if row.text.trim().is_empty() => blank("`text`"),
                Ok(row) => Ok(Row::Text(row.text.into_owned())),
                Err(error) => Err(self.explain(bytes, &error)),
            },
            Self::Instruction => match first::<InstructionRow>(bytes) {
                Ok(row) if row.instruction.trim().is_empty() => blank("`instruction`"),
                Ok(row) => Ok(Row::Text(alpaca_document(&row.instruction, row.input.as_ref(), &row.output))),
                Err(error) => Err(self.explain(bytes, &error)),
            },
            Self::Windows => match first::<WindowRow>(bytes) {
                Ok(row) => self.window(row),
                Err(error) => Err(self.explain(bytes, &error)),
            },
        }
    }

    fn window(self, row: WindowRow) -> Result<Row, RowError> {
        let WindowRow { mut input_ids, attention_mask } = row;
        if let Some(mask) = attention_mask {
            if mask.len() != input_ids.len() {
                let found = format!("{} tokens and a mask of {}", input_ids.len(), mask.len());
                return Err(self.refused(found));
            }
            if let Some(other) = mask.iter().find(|&&bit| bit > 1) {
                return Err(self.refused(format!("{other} in the `attention_mask`")));
            }
            let mut kept = mask.iter().map(|&bit| bit == 1);
            input_ids.retain(|_| kept.next().unwrap_or(false));
        }
        if input_ids.is_empty() {
            return Err(self.refused("a window without tokens".to_owned()));
        }
        Ok(Row::Window(input_ids))
    }

    fn refused(self, found: String) -> RowError {
        RowError::Shape { expected: self.expected().to_owned(), found }
    }

    /// Why a row did not read in this shape.
    fn explain(self, bytes: &[u8], error: &serde_json::Error) -> RowError {
        let keys = match object(bytes) {
            Ok(keys) => keys,
            Err(error) => return error,
        };
        let (needed, optional): (&[&str], &[&str]) = match self {
            Self::Plain | Self::Text => (&["text"], &[]),
            Self::Instruction => (&["instruction", "output"], &["input"]),
            Self::Windows => (&["input_ids"], &["attention_mask"]),
        };
        if let Some(missing) = needed.iter().find(|key| !keys.contains_key(**key)) {
            return self.refused(format!("no `{missing}` ({})", names(&keys)));
        }
        let wrong = needed.iter().chain(optional).find_map(|key| {
            let value = keys.get(*key)?;
            let fits = match self {
                Self::Windows => value.is_array(),
                _ => value.is_string() || (value.is_null() && optional.contains(key)),
            };
            (!fits).then(|| format!("`{key}` that is {}", kind(value)))
        });
        self.refused(wrong.unwrap_or_else(|| without_place(error)))
    }
}

/// The row as an object.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, RowError> {
    match parse::<Value>(bytes)? {
        Value::Object(map) => Ok(map),
        other => Err(RowError::Shape { expected: "an object".to_owned(), found: kind(&other).to_owned() }),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RowError> {
    first(bytes).map_err(|error: serde_json::Error| {
        // A row that ends too early is wrong as a whole.
        if error.is_eof() {
            return RowError::Json { line: 0, problem: without_place(&error) };
        }
        let problem = format!("{} (column {})", without_place(&error), error.column());
        RowError::Json { line: (error.line() as u64).saturating_sub(1), problem }
    })
}

/// The message without the place, which counts from the row's beginning.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&place).unwrap_or(&message).to_owned()
}

/// The keys of an object, for messages.
fn names(keys: &Map<String, Value>) -> String {
    let mut shown: Vec<_> = keys.keys().take(8).map(|key| format!("`{key}`")).collect();
    if keys.len() > shown.len() {
        shown.push("…".to_owned());
    }
    if shown.is_empty() { "no keys".to_owned() } else { format!("the keys {}", shown.join(", ")) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_found_by_looking() {
        for (row, shape) in [
            (r#"{"text": "a", "url": "b"}"#, Shape::Text),
            (r#"{"instruction": "a", "output": "b"}"#, Shape::Instruction),
            (r#"{"input_ids": [1], "text": "a"}"#, Shape::Windows),
        ] {
            assert_eq!(Shape::of(row.as_bytes()), Ok(shape));
        }
        let Err(RowError::Shape { found, .. }) = Shape::of(br#"{"question": "a", "answer": "b"}"#) else {
            panic!("accepted")
        };
        assert_eq!(found, "the keys `answer`, `question`");
    }

    #[test]
    fn rows_are_read() {
        let read = |shape: Shape, row: &str| shape.read(row.as_bytes()).unwrap();
        let text = read(Shape::Text, r#"{"text": "a\n\u00e9", "n": [1, {"x": null}]} , trailing"#);
        assert_eq!(text, Row::Text("a\né".to_owned()));
        let without = read(Shape::Instruction, r#"{"instruction": "Do.", "input": null, "output": ""}"#);
        assert_eq!(without, Row::Text(format!("{}\n", super::super::alpaca_prompt("Do.", ""))));
        let masked = read(Shape::Windows, r#"{"input_ids": [5, 6, 0, 0], "attention_mask": [1, 1, 0, 0]}"#);
        assert_eq!(masked, Row::Window(vec![5, 6]));
    }

    #[test]
    fn wrong_rows_are_explained() {
        for (shape, row, words) in [
            (Shape::Text, r#"{"text": 5}"#, "`text` that is a number"),
            (Shape::Text, r#"{"texts": ""}"#, "no `text` (the keys `texts`)"),
            (Shape::Text, r#"{"text": " \n"}"#, "`text` that is empty"),
            (Shape::Text, "{}", "no `text` (no keys)"),
            (Shape::Text, "[1]", "a list"),
            (Shape::Instruction, r#"{"instruction": "a", "output": ["b"]}"#, "`output` that is a list"),
            (Shape::Instruction, r#"{"instruction": "", "output": "b"}"#, "`instruction` that is empty"),
            (Shape::Instruction, r#"{"instruction": "a", "input": 1, "output": "b"}"#, "`input` that is"),
            (Shape::Windows, r#"{"input_ids": []}"#, "a window without tokens"),
            (Shape::Windows, r#"{"input_ids": [1], "attention_mask": [0]}"#, "a window without tokens"),
            (Shape::Windows, r#"{"input_ids": [1], "attention_mask": [1, 1]}"#, "1 tokens and a mask of 2"),
            (Shape::Windows, r#"{"input_ids": [1], "attention_mask": [2]}"#, "2 in the `attention_mask`"),
            (Shape::Windows, r#"{"input_ids": "1"}"#, "`input_ids` that is a string"),
            (Shape::Windows, r#"{"input_ids": [-1]}"#, "invalid value: integer `-1`, expected u32"),
            (Shape::Windows, r#"{"input_ids": [[1]]}"#, "invalid type: sequence, expected u32"),
        ] {
            let Err(RowError::Shape { found, .. }) = shape.read(row.as_bytes()) else { panic!("{row}") };
            assert!(found.contains(words), "{row}: {found}");
        }
        let Err(RowError::Json { line, problem }) = Shape::Text.read(b"{\"text\":\n \"a\",}") else {
            panic!("accepted")
        };
        assert_eq!((line, problem.as_str()), (1, "trailing comma (column 6)"));
    }
}
