//! The shapes a row of JSON can have, and reading a row in its shape.

use super::{
    Fields, Record,
    fields::Field,
    json::{Json, Key},
    record::Row,
    scan::Wanted,
    values::{Wrong, conversation, instances, optional_string, string, strings, tokens, turns, visible},
};
use serde::{
    Serialize,
    de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// The shape of a collection's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The whole file is one document.
    Plain,
    /// Rows of running text.
    Text,
    /// Beginnings of texts, and how they continue.
    Completion,
    /// Tasks with their answers.
    Instruction,
    /// Conversations.
    Chat,
    /// Windows of tokens as they are.
    Windows,
    /// Rows as they are, whatever their fields.
    Row,
}

/// Why a row cannot be used.
#[derive(Debug, PartialEq)]
pub(super) enum RowError {
    /// No JSON: where in the row, counting lines from 0, and what.
    Json { line: u64, problem: String },
    /// JSON of another shape.
    Shape { expected: String, found: String },
    /// JSON of this shape in which there is nothing.
    Blank { expected: String, found: String },
}

/// The fields of a shape: all that are needed tell it from others.
#[derive(Debug)]
struct Form {
    shape: Shape,
    needed: &'static [Field],
    optional: &'static [Field],
}

/// The shapes that are known; the first that fits is taken, so that what says more stands before what says
/// less. `windows.jsonl` has a `text` beside its tokens, and Alpaca's published rows one beside the answer.
static FORMS: [Form; 6] = [
    Form {
        shape: Shape::Windows,
        needed: &[Field::InputIds],
        optional: &[Field::AttentionMask, Field::LossMask],
    },
    Form { shape: Shape::Chat, needed: &[Field::Messages], optional: &[Field::Tools, Field::System] },
    Form { shape: Shape::Instruction, needed: &[Field::Instruction, Field::Instances], optional: &[] },
    Form {
        shape: Shape::Instruction,
        needed: &[Field::Instruction, Field::Output],
        optional: &[Field::Input, Field::System],
    },
    Form { shape: Shape::Completion, needed: &[Field::Prefix, Field::Completion], optional: &[] },
    Form { shape: Shape::Text, needed: &[Field::Text], optional: &[] },
];

/// Rows as they are: every object is one.
static ROW: Form = Form { shape: Shape::Row, needed: &[], optional: &[] };

/// The most fields that a shape has.
const FIELDS: usize = 4;

impl Form {
    fn fields(&self) -> impl Iterator<Item = Field> {
        self.needed.iter().chain(self.optional).copied()
    }
}

/// The shape of a file's rows with the keys its fields stand under.
#[derive(Debug)]
pub(super) struct Layout {
    form: &'static Form,
    /// The keys of each field, the preferred one first.
    keys: Vec<Vec<String>>,
    /// Whether empty text is text.
    blank: bool,
}

impl Layout {
    /// The layout of the row that these bytes begin with.
    pub(super) fn of(row: &str, fields: Option<&Fields>, wanted: Wanted) -> Result<Self, RowError> {
        let found = keys(row)?;
        if wanted == Wanted::Rows {
            return Ok(Self { form: &ROW, keys: Vec::new(), blank: true });
        }
        let blank = wanted == Wanted::Text;
        let candidates = || {
            let named = |form: &&Form| {
                fields.is_none_or(|fields| fields.fields().all(|field| form.fields().any(|has| has == field)))
            };
            FORMS.iter().filter(named).map(|form| Self::new(form, fields, blank))
        };
        let fits = |layout: &Self| {
            layout.keys[..layout.form.needed.len()]
                .iter()
                .all(|keys| keys.iter().any(|key| found.contains(key)))
        };
        candidates().find(fits).ok_or_else(|| {
            let needs: Vec<_> = candidates().map(|layout| layout.needs()).collect();
            let expected = match needs.as_slice() {
                [] => "fields of one shape (--fields names those of several)".to_owned(),
                needs => format!("an object with {}", needs.join("; or with ")),
            };
            RowError::Shape { expected, found: names(&found) }
        })
    }

    fn new(form: &'static Form, fields: Option<&Fields>, blank: bool) -> Self {
        let keys = |field: Field| match fields.and_then(|fields| fields.key(field)) {
            Some(key) => vec![key.to_owned()],
            None => field.names().iter().map(|&name| name.to_owned()).collect(),
        };
        Self { form, keys: form.fields().map(keys).collect(), blank }
    }

    /// The needed keys in words.
    fn needs(&self) -> String {
        let needed: Vec<_> = self.keys[..self.form.needed.len()].iter().map(|keys| either(keys)).collect();
        needed.join(" and ")
    }

    pub(super) fn shape(&self) -> Shape {
        self.form.shape
    }

    /// The expected form of a row, for messages.
    fn expected(&self) -> String {
        let described =
            |(field, keys): (Field, &Vec<String>)| format!("{}, {}", either(keys), field.expected());
        let parts: Vec<_> = self.form.fields().zip(&self.keys).map(described).collect();
        let (needed, optional) = parts.split_at(self.form.needed.len());
        let mut text = format!("an object with {}", needed.join("; and "));
        if !optional.is_empty() {
            text = format!("{text}; and perhaps {}", optional.join("; and "));
        }
        text
    }

    /// The records of the row that this text begins with: one, or one for each instance.
    pub(super) fn read(&self, row: &str) -> Result<Vec<Record>, RowError> {
        self.read_from(row, &mut serde_json::Deserializer::from_str(row))
    }

    /// The records of a row that stands alone on its line.
    pub(super) fn read_line(&self, row: &str) -> Result<Vec<Record>, RowError> {
        let mut deserializer = serde_json::Deserializer::from_str(row);
        let records = self.read_from(row, &mut deserializer);
        // A row without its end is the first thing that is wrong.
        if !matches!(records, Err(RowError::Json { .. })) {
            deserializer.end().map_err(|_| RowError::Json {
                line: 0,
                problem: "something follows the row; rows stand one a line, or in a list".to_owned(),
            })?;
        }
        records
    }

    fn read_from<'de>(
        &self,
        row: &str,
        deserializer: &mut serde_json::Deserializer<serde_json::de::StrRead<'de>>,
    ) -> Result<Vec<Record>, RowError> {
        if self.form.shape == Shape::Row {
            let value: Json = serde::Deserialize::deserialize(deserializer).map_err(json_error)?;
            return match value {
                object @ Json::Object(_) => Ok(vec![Record::Row(Row::new(object.into_owned()))]),
                other => Err(RowError::Shape { expected: "an object".to_owned(), found: other.kind() }),
            };
        }
        let slots = self.slots(deserializer)?;
        self.records(row, slots)
    }

    fn slots<'de>(
        &self,
        deserializer: &mut serde_json::Deserializer<serde_json::de::StrRead<'de>>,
    ) -> Result<Slots<'de>, RowError> {
        RowSeed(self)
            .deserialize(deserializer)
            .map_err(json_error)?
            .map_err(|kind| RowError::Shape { expected: "an object".to_owned(), found: kind.to_owned() })
    }

    fn records(&self, row: &str, slots: Slots) -> Result<Vec<Record>, RowError> {
        let values: [Option<Json>; FIELDS] = slots.0.map(|slot| slot.map(|(_, value)| value));
        let missing = values.iter().take(self.form.needed.len()).position(Option::is_none);
        if let Some(missing) = missing {
            let found = format!("no {} ({})", either(&self.keys[missing]), names(&keys(row)?));
            return Err(self.refused(found));
        }
        build(self.form, values, self.blank).map_err(|wrong| match wrong {
            Wrong::Type(field, found) => self.refused(format!("{} {found}", self.name(field))),
            Wrong::Blank(field, found) => {
                RowError::Blank { expected: self.expected(), found: format!("{} {found}", self.name(field)) }
            }
        })
    }

    /// The key of a field, for messages.
    fn name(&self, field: Field) -> String {
        let keys = self.form.fields().zip(&self.keys).find(|(has, _)| *has == field).map(|(_, keys)| keys);
        keys.map_or_else(String::new, |keys| either(keys))
    }

    fn refused(&self, found: String) -> RowError {
        RowError::Shape { expected: self.expected(), found }
    }
}

/// The records of a row, of which the needed values are there, in the order of the form's fields.
fn build(form: &Form, values: [Option<Json>; FIELDS], blank: bool) -> Result<Vec<Record>, Wrong> {
    let [first, second, third, fourth] = values;
    let (first, second) = (first.unwrap_or(Json::Null), second.unwrap_or(Json::Null));
    let record = match (form.shape, form.needed) {
        (Shape::Instruction, [_, Field::Instances]) => return instances(first, second),
        (Shape::Instruction, _) => Record::Instruction {
            system: optional_string(Field::System, fourth.unwrap_or(Json::Null))?,
            instruction: visible(Field::Instruction, string(Field::Instruction, first)?)?,
            input: optional_string(Field::Input, third.unwrap_or(Json::Null))?,
            outputs: strings(Field::Output, second)?,
        },
        (Shape::Completion, _) if matches!(first, Json::List(_)) => Record::Chat(turns(first, second)?),
        (Shape::Completion, _) => Record::Completion {
            prefix: visible(Field::Prefix, string(Field::Prefix, first)?)?,
            completions: strings(Field::Completion, second)?,
        },
        (Shape::Chat, _) => Record::Chat(conversation(first, second, third.unwrap_or(Json::Null))?),
        (Shape::Windows, _) => Record::Tokens(tokens(first, second, third.unwrap_or(Json::Null))?),
        // Rows as they are have no parts: they are read whole.
        (Shape::Plain | Shape::Text | Shape::Row, _) if blank => Record::Text(string(Field::Text, first)?),
        (Shape::Plain | Shape::Text | Shape::Row, _) => {
            Record::Text(visible(Field::Text, string(Field::Text, first)?)?)
        }
    };
    Ok(vec![record])
}

/// The values of a form's fields, each with the place of its key among those of the field.
#[derive(Default)]
struct Slots<'a>([Option<(usize, Json<'a>)>; FIELDS]);

/// Reads the values that a layout asks for and passes over all others.
struct RowSeed<'a>(&'a Layout);

impl RowSeed<'_> {
    fn place(&self, key: &str) -> Option<(usize, usize)> {
        let within = |keys: &Vec<String>| keys.iter().position(|name| name == key);
        self.0.keys.iter().enumerate().find_map(|(field, keys)| Some((field, within(keys)?)))
    }
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Result<Slots<'de>, &'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    /// The values, or what stands there instead of an object.
    type Value = Result<Slots<'de>, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut slots = Slots::default();
        while let Some(Key(key)) = entries.next_key()? {
            match self.place(&key) {
                Some((field, rank)) if slots.0[field].as_ref().is_none_or(|(held, _)| rank <= *held) => {
                    slots.0[field] = Some((rank, entries.next_value()?));
                }
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Ok(slots))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err("a list"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err("a string"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err("true or false"))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Err("null"))
    }
}

/// The keys of the object that this text begins with.
fn keys(row: &str) -> Result<Vec<String>, RowError> {
    let mut deserializer = serde_json::Deserializer::from_str(row);
    let value: Json = serde::Deserialize::deserialize(&mut deserializer).map_err(json_error)?;
    match value {
        Json::Object(pairs) => Ok(pairs.into_iter().map(|(key, _)| key.into_owned()).collect()),
        other => Err(RowError::Shape { expected: "an object".to_owned(), found: other.kind() }),
    }
}

fn json_error(error: serde_json::Error) -> RowError {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let problem = message.strip_suffix(&place).unwrap_or(&message);
    // A row that ends too early is wrong as a whole.
    if error.is_eof() {
        return RowError::Json { line: 0, problem: problem.to_owned() };
    }
    let problem = format!("{problem} (column {})", error.column());
    RowError::Json { line: (error.line() as u64).saturating_sub(1), problem }
}

/// Keys one of which is meant.
fn either(keys: &[String]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(" or ")
}

/// The keys of an object, for messages.
fn names(keys: &[String]) -> String {
    let mut shown: Vec<_> = keys.iter().take(8).map(|key| format!("`{key}`")).collect();
    if keys.len() > shown.len() {
        shown.push("…".to_owned());
    }
    if shown.is_empty() { "no keys".to_owned() } else { format!("the keys {}", shown.join(", ")) }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
