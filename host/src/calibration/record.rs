//! What a row of data is, whatever its keys were called.

use serde::Serialize;

/// A row of data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Running text.
    Text(String),
    /// The beginning of a text, and how it goes on.
    Completion {
        /// The beginning.
        prefix: String,
        /// How it goes on: one, or several that would do.
        completions: Vec<String>,
    },
    /// A task: Alpaca's, Dolly's and Unnatural Instructions' rows, and questions with answers.
    Instruction {
        /// What to do.
        instruction: String,
        /// What to do it with; often empty.
        input: String,
        /// The answer: one, or several that would do.
        outputs: Vec<String>,
    },
    /// A conversation.
    Chat(Vec<Message>),
    /// Tokens as they are, masked ones dropped.
    Tokens(Vec<u32>),
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or another role that the model's template knows.
    pub role: String,
    /// What they say.
    pub content: String,
}

impl Message {
    /// A message of this role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

impl Record {
    /// The answers that a model's own is compared with; none for running text and for tokens.
    pub fn references(&self) -> Vec<&str> {
        match self {
            Self::Text(_) | Self::Tokens(_) => Vec::new(),
            Self::Completion { completions: answers, .. } | Self::Instruction { outputs: answers, .. } => {
                answers.iter().map(String::as_str).collect()
            }
            Self::Chat(messages) => {
                answer(messages).map(|message| message.content.as_str()).into_iter().collect()
            }
        }
    }

    /// All its text, in pieces.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => vec![text],
            Self::Completion { prefix, completions } => with(&[prefix], completions),
            Self::Instruction { instruction, input, outputs } => with(&[instruction, input], outputs),
            Self::Chat(messages) => messages.iter().map(|message| message.content.as_str()).collect(),
            Self::Tokens(_) => Vec::new(),
        }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "running text",
            Self::Completion { .. } => "a text with its completion",
            Self::Instruction { .. } => "an instruction",
            Self::Chat(_) => "a conversation",
            Self::Tokens(_) => "token numbers",
        }
    }
}

/// The message that ends a conversation, if it is the model's.
pub(super) fn answer(messages: &[Message]) -> Option<&Message> {
    messages.last().filter(|message| message.role == "assistant")
}

fn with<'a>(first: &[&'a String], rest: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(rest).map(String::as_str).collect()
}
