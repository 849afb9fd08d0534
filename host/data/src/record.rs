//! Rows of data, independent of their keys.

use super::{CalibrationError, json::Json};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A row of data.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Running text.
    Text(String),
    /// The beginning of a text, and how it continues.
    Completion {
        /// The beginning.
        prefix: String,
        /// How it continues: one, or several that would do.
        completions: Vec<String>,
    },
    /// A task: Alpaca's, Dolly's and Unnatural Instructions' rows, and questions with answers.
    Instruction {
        /// The system message; mostly empty.
        system: String,
        /// The instruction.
        instruction: String,
        /// The input of the instruction; often empty.
        input: String,
        /// The answer: one, or several that would do.
        outputs: Vec<String>,
    },
    /// A conversation.
    Chat(Conversation),
    /// Tokens as they are.
    Tokens(Tokens),
    /// A row as it is, for the templates of a task.
    Row(Row),
}

/// A window of tokens as a row has it, without those that its `attention_mask` leaves out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tokens {
    /// The tokens.
    pub input_ids: Vec<u32>,
    /// How much each counts; nothing where all count 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loss_mask: Vec<f32>,
}

impl From<Vec<u32>> for Tokens {
    fn from(input_ids: Vec<u32>) -> Self {
        Self { input_ids, loss_mask: Vec::new() }
    }
}

impl Tokens {
    /// As the model takes them.
    pub fn view(&self) -> espalier_model::Window<'_> {
        espalier_model::Window { input_ids: &self.input_ids, loss_mask: &self.loss_mask }
    }
}

impl Record {
    /// Its fields, by name. Of several answers the first counts; messages are JSON; tokens and rows as they are have none.
    pub fn fields(&self) -> BTreeMap<String, String> {
        let first = |answers: &[String]| answers.first().cloned().unwrap_or_default();
        let fields = match self {
            Self::Text(text) => vec![("text", text.clone())],
            Self::Completion { prefix, completions } => {
                vec![("prefix", prefix.clone()), ("completion", first(completions))]
            }
            Self::Instruction { system, instruction, input, outputs } => vec![
                ("system", system.clone()),
                ("instruction", instruction.clone()),
                ("input", input.clone()),
                ("output", first(outputs)),
            ],
            Self::Chat(conversation) => {
                let messages = conversation.messages.iter();
                let messages = messages.map(|message| (message.role.as_str(), message.content.as_str()));
                let messages: Vec<_> = messages
                    .map(|(role, content)| serde_json::json!({ "role": role, "content": content }))
                    .collect();
                vec![("messages", serde_json::Value::from(messages).to_string())]
            }
            Self::Tokens(_) | Self::Row(_) => Vec::new(),
        };
        fields.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
    }
}

/// An object of any fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Json<'static>);

impl Row {
    /// A row with the fields of a JSON object.
    pub(super) fn new(object: Json<'static>) -> Self {
        Self(object)
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let pairs = if let Json::Object(pairs) = &self.0 { pairs.as_slice() } else { &[] };
        pairs.iter().map(|(name, _)| name.as_ref())
    }

    /// Whether both have the same value in a field.
    pub fn shares(&self, other: &Self, field: &str) -> bool {
        self.0.get(field).is_some() && self.0.get(field) == other.0.get(field)
    }
}

impl TryFrom<serde_json::Value> for Row {
    type Error = CalibrationError;

    fn try_from(value: serde_json::Value) -> Result<Self, CalibrationError> {
        match Json::from(value) {
            object @ Json::Object(_) => Ok(Self(object)),
            other => Err(CalibrationError::NoObject { found: other.kind() }),
        }
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// Its messages, in order.
    pub messages: Vec<Message>,
    /// The tools that the model may call, as its template takes them: a list of objects, or null.
    pub(super) tools: Json<'static>,
}

impl Conversation {
    /// A conversation without tools.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, tools: Json::Null }
    }

    /// Whether there are tools that the model may call.
    pub(super) fn has_tools(&self) -> bool {
        self.tools != Json::Null
    }

    /// The message that ends it, if it is the model's.
    pub(super) fn answer(&self) -> Option<&Message> {
        self.messages.last().filter(|message| message.role == "assistant")
    }

    /// The messages before the [answer](Self::answer).
    pub(super) fn before_answer(&self) -> &[Message] {
        &self.messages[..self.messages.len() - usize::from(self.answer().is_some())]
    }
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or another role that the model's template knows.
    pub role: String,
    /// The content; empty where they only call tools.
    pub content: String,
    /// All that the row has of it, which is what templates see.
    object: Vec<(String, Json<'static>)>,
}

impl Message {
    /// A message of this role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let (role, content) = (role.into(), content.into());
        let text = |text: &String| Json::String(text.clone().into());
        let object = vec![("role".to_owned(), text(&role)), ("content".to_owned(), text(&content))];
        Self { role, content, object }
    }

    /// A message with all that its row has of it.
    pub(super) fn of(role: String, content: String, object: Vec<(String, Json<'static>)>) -> Self {
        Self { role, content, object }
    }

    /// Whether it says nothing, and holds nothing else.
    pub(super) fn is_empty(&self) -> bool {
        self.content.trim().is_empty() && self.object.iter().all(|(key, _)| key == "role" || key == "content")
    }

    /// The same message with other content.
    pub(super) fn saying(&self, content: &str) -> Self {
        let mut changed = Self { content: content.to_owned(), ..self.clone() };
        let text = Json::String(content.to_owned().into());
        match changed.object.iter_mut().find(|(key, _)| key == "content") {
            Some((_, held)) => *held = text,
            None => changed.object.push(("content".to_owned(), text)),
        }
        changed
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.object.iter().map(|(key, value)| (key, value)))
    }
}

impl Record {
    /// The answers that a model's own is compared with; none for running text and for tokens.
    pub fn references(&self) -> Vec<&str> {
        match self {
            Self::Text(_) | Self::Tokens(_) | Self::Row(_) => Vec::new(),
            Self::Completion { completions: answers, .. } | Self::Instruction { outputs: answers, .. } => {
                answers.iter().map(String::as_str).collect()
            }
            Self::Chat(said) => said.answer().map(|message| message.content.as_str()).into_iter().collect(),
        }
    }

    /// All its text, in pieces.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => vec![text],
            Self::Completion { prefix, completions } => with(&[prefix], completions),
            Self::Instruction { system, instruction, input, outputs } => {
                with(&[system, instruction, input], outputs)
            }
            Self::Chat(said) => said.messages.iter().map(|message| message.content.as_str()).collect(),
            Self::Tokens(_) => Vec::new(),
            Self::Row(row) => row.0.texts(),
        }
    }

    /// A description for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "running text",
            Self::Completion { .. } => "a text with its completion",
            Self::Instruction { .. } => "an instruction",
            Self::Chat(_) => "a conversation",
            Self::Tokens(_) => "token numbers",
            Self::Row(_) => "a row of fields",
        }
    }
}

fn with<'a>(first: &[&'a String], rest: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(rest).map(String::as_str).collect()
}
