//! Prompts: from a record to the text that a model sees.

use super::{
    CalibrationError, Message, Record,
    record::answer,
    template::{ChatTemplate, FileTemplate},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::OnceLock,
};

/// How a record becomes text. Running text and tokens stay what they are, whatever the prompt; only a
/// template file sees running text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Prompt {
    /// Its parts, one line each, and the answer.
    Raw,
    /// Alpaca's two published templates, with the answer on the line behind `### Response:`.
    Alpaca,
    /// The model's chat template.
    Chat,
    /// A template file in Jinja, over `text`; `prefix` and `completion`; `instruction`, `input` and
    /// `output`; or `messages`.
    File(PathBuf),
}

impl FromStr for Prompt {
    type Err = CalibrationError;

    fn from_str(text: &str) -> Result<Self, CalibrationError> {
        match text {
            "" => Err(CalibrationError::Prompt),
            "raw" => Ok(Self::Raw),
            "alpaca" => Ok(Self::Alpaca),
            "chat" => Ok(Self::Chat),
            file => Ok(Self::File(file.into())),
        }
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Alpaca => f.write_str("alpaca"),
            Self::Chat => f.write_str("chat"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl TryFrom<String> for Prompt {
    type Error = CalibrationError;

    fn try_from(text: String) -> Result<Self, CalibrationError> {
        text.parse()
    }
}

impl From<Prompt> for String {
    fn from(prompt: Prompt) -> Self {
        prompt.to_string()
    }
}

/// A record as text. The whole document is the prompt with the answer behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// What the model is given.
    pub prompt: String,
    /// What it should go on with; empty for running text.
    pub answer: String,
    /// Whether the tokenizer is to add its own special tokens; not where a chat template wrote them.
    pub special: bool,
}

impl Rendered {
    /// The whole document.
    pub fn document(&self) -> String {
        format!("{}{}", self.prompt, self.answer)
    }

    fn new(prompt: impl Into<String>, answer: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), answer: answer.into(), special: true }
    }
}

/// Renders records for a model.
#[derive(Debug)]
pub struct Renderer {
    prompt: Option<Prompt>,
    folder: PathBuf,
    file: Option<FileTemplate>,
    chat: OnceLock<ChatTemplate>,
}

impl Renderer {
    /// Renders with this prompt; without one, as each record's shape asks for: running text and
    /// completions as they are, instructions with Alpaca's templates, conversations with the chat template
    /// of the model in `folder`.
    ///
    /// # Errors
    /// A template that does not read or is no template, or none in the model's folder where one is asked
    /// for.
    pub fn new(prompt: Option<Prompt>, folder: &Path) -> Result<Self, CalibrationError> {
        let file = match &prompt {
            Some(Prompt::File(path)) => Some(FileTemplate::read(path)?),
            _ => None,
        };
        let renderer = Self { prompt, folder: folder.to_owned(), file, chat: OnceLock::new() };
        if renderer.prompt == Some(Prompt::Chat) {
            renderer.chat()?;
        }
        Ok(renderer)
    }

    /// The text of a record. `place` says where it is from.
    ///
    /// # Errors
    /// A template fails or refuses the record, the record does not fit the prompt, or it holds tokens in
    /// place of text.
    pub fn render(&self, record: &Record, place: impl Fn() -> String) -> Result<Rendered, CalibrationError> {
        if let Record::Tokens(_) = record {
            return Err(CalibrationError::NoText { place: place(), found: record.kind() });
        }
        if let Some(file) = &self.file {
            return file.render(record).map_err(|source| file.failed(place(), source));
        }
        let prompt = self.prompt.as_ref().unwrap_or(match record {
            Record::Instruction { .. } => &Prompt::Alpaca,
            Record::Chat(_) => &Prompt::Chat,
            _ => &Prompt::Raw,
        });
        match (prompt, record) {
            (_, Record::Text(text)) => Ok(Rendered::new(text, "")),
            (Prompt::Alpaca, record) => alpaca(record)
                .ok_or_else(|| CalibrationError::NoInstruction { place: place(), found: record.kind() }),
            (Prompt::Chat, record) => {
                let chat = self.chat()?;
                conversation(chat, &messages(record)).map_err(|source| chat.failed(place(), source))
            }
            (_, record) => Ok(raw(record)),
        }
    }

    /// The model's chat template, read when it is first needed.
    fn chat(&self) -> Result<&ChatTemplate, CalibrationError> {
        match self.chat.get() {
            Some(chat) => Ok(chat),
            None => {
                let chat = ChatTemplate::of_model(&self.folder)?;
                Ok(self.chat.get_or_init(|| chat))
            }
        }
    }
}

/// An instruction as Alpaca's two published templates put it, up to and with the `### Response:` that the
/// answer follows on the next line.
pub fn alpaca_prompt(instruction: &str, input: &str) -> String {
    if input.is_empty() {
        format!(
            "Below is an instruction that describes a task. Write a response that appropriately completes \
             the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
        )
    } else {
        format!(
            "Below is an instruction that describes a task, paired with an input that provides further \
             context. Write a response that appropriately completes the request.\n\n### Instruction:\n\
             {instruction}\n\n### Input:\n{input}\n\n### Response:"
        )
    }
}

/// Alpaca's templates around a record that is an instruction with an answer, or that can be read as one.
fn alpaca(record: &Record) -> Option<Rendered> {
    let (instruction, input, output) = match record {
        Record::Instruction { instruction, input, outputs } => {
            (instruction.as_str(), input.as_str(), first(outputs))
        }
        Record::Completion { prefix, completions } => (prefix.as_str(), "", first(completions)),
        Record::Chat(messages) => match messages.as_slice() {
            [user, assistant] if user.role == "user" && assistant.role == "assistant" => {
                (user.content.as_str(), "", assistant.content.as_str())
            }
            _ => return None,
        },
        Record::Text(_) | Record::Tokens(_) => return None,
    };
    Some(Rendered::new(format!("{}\n", alpaca_prompt(instruction, input)), output))
}

/// The parts of a record as they are.
fn raw(record: &Record) -> Rendered {
    match record {
        Record::Text(text) => Rendered::new(text, ""),
        Record::Completion { prefix, completions } => Rendered::new(prefix, first(completions)),
        Record::Instruction { instruction, input, outputs } => {
            let lines = if input.is_empty() {
                format!("{instruction}\n")
            } else {
                format!("{instruction}\n{input}\n")
            };
            Rendered::new(lines, first(outputs))
        }
        Record::Chat(messages) => {
            let said = answer(messages);
            let before = &messages[..messages.len() - usize::from(said.is_some())];
            let lines: String = before.iter().map(|message| format!("{}\n", message.content)).collect();
            Rendered::new(lines, said.map_or("", |message| &message.content))
        }
        Record::Tokens(_) => Rendered::new("", ""),
    }
}

/// A record as a conversation: an instruction and its input are what the user says.
fn messages(record: &Record) -> Vec<Message> {
    let exchange =
        |user: &str, assistant: &str| vec![Message::new("user", user), Message::new("assistant", assistant)];
    match record {
        Record::Chat(messages) => messages.clone(),
        Record::Instruction { instruction, input, outputs } if input.is_empty() => {
            exchange(instruction, first(outputs))
        }
        Record::Instruction { instruction, input, outputs } => {
            exchange(&format!("{instruction}\n\n{input}"), first(outputs))
        }
        Record::Completion { prefix, completions } => exchange(prefix, first(completions)),
        Record::Text(_) | Record::Tokens(_) => Vec::new(),
    }
}

/// A conversation in a chat template, parted before the last answer.
fn conversation(chat: &ChatTemplate, messages: &[Message]) -> Result<Rendered, minijinja::Error> {
    let document = chat.render(messages, false)?;
    let prompt = match answer(messages) {
        Some(_) => chat.render(&messages[..messages.len() - 1], true)?,
        None => document.clone(),
    };
    Ok(Rendered { special: false, ..part(&document, &prompt) })
}

/// A document parted where its prompt ends: where the two part ways, if the template writes a prompt
/// differently when an answer follows.
pub(super) fn part(document: &str, prompt: &str) -> Rendered {
    let same = document.char_indices().zip(prompt.chars()).take_while(|((_, a), b)| a == b).last();
    let end = same.map_or(0, |((at, c), _)| at + c.len_utf8());
    Rendered::new(&document[..end], &document[end..])
}

/// The answer that a document shows, of several that would do.
pub(super) fn first(answers: &[String]) -> &str {
    answers.first().map_or("", String::as_str)
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
