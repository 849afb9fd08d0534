//! Prompts: from a record to the text that a model sees.

use super::{
    CalibrationError, Conversation, Message, Record,
    rendered::{Rendered, first},
    template::{ChatTemplate, FileTemplate},
};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
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

/// A record as one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The text.
    pub text: String,
    /// Whether the tokenizer is to add its own special tokens; not where a chat template wrote them.
    pub special: bool,
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
    /// A file that cannot be read or is not a template, or none in the model's folder where one is asked
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

    /// A record as the prompt that the model continues, and the answer behind it. `place` says where it is from.
    ///
    /// # Errors
    /// A template fails or refuses the record, the record does not fit the prompt, it holds tokens in place of text, or a
    /// template file writes a prompt that depends on the answer.
    pub fn render(&self, record: &Record, place: impl Fn() -> String) -> Result<Rendered, CalibrationError> {
        match self.way(record, &place)? {
            PromptWay::File(file) => file.render(record).map_err(|source| file.failed(place(), source)),
            PromptWay::Chat(chat) => {
                exchange(chat, &conversation(record)).map_err(|source| chat.failed(place(), source))
            }
            PromptWay::Plain(rendered) => Ok(rendered),
        }
    }

    /// A record as the prompt that the model answers, and whether the tokenizer is to add its own special tokens: as the given
    /// prompt puts it, or else the model's chat template where it has one. Nothing of running text and of tokens.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn question(
        &self,
        record: &Record,
        place: impl Fn() -> String,
    ) -> Result<Option<(String, bool)>, CalibrationError> {
        if let Record::Text(_) | Record::Tokens(_) | Record::Row(_) = record {
            return Ok(None);
        }
        let chat = match self.prompt {
            Some(_) => None,
            None => match self.chat() {
                Ok(chat) => Some(chat),
                Err(CalibrationError::NoChatTemplate { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        if let Some(chat) = chat {
            let said = conversation(record);
            let before = Conversation { messages: said.before_answer().to_vec(), ..said.into_owned() };
            return Ok(Some((chat.prompt(&before, place)?, false)));
        }
        let rendered = self.render(record, place)?;
        Ok(Some((rendered.prompt, rendered.special)))
    }

    /// A record as one text: what a model that answered as the record does would have seen and written. `place` says where
    /// it is from.
    ///
    /// # Errors
    /// A template fails or refuses the record, the record does not fit the prompt, or it holds tokens in place of text.
    pub fn document(
        &self,
        record: &Record,
        place: impl Fn() -> String,
    ) -> Result<Document, CalibrationError> {
        match self.way(record, &place)? {
            PromptWay::File(file) => {
                let text = file.document(record).map_err(|source| file.failed(place(), source))?;
                Ok(Document { text, special: true })
            }
            PromptWay::Chat(chat) => {
                let said = conversation(record);
                let text = chat.render(&said, false).map_err(|source| chat.failed(place(), source))?;
                Ok(Document { text, special: false })
            }
            PromptWay::Plain(rendered) => Ok(Document { text: rendered.whole(), special: rendered.special }),
        }
    }

    /// How a record is rendered.
    fn way(&self, record: &Record, place: impl Fn() -> String) -> Result<PromptWay<'_>, CalibrationError> {
        if let Record::Tokens(_) | Record::Row(_) = record {
            return Err(CalibrationError::NoText { place: place(), found: record.kind() });
        }
        if let Some(file) = &self.file {
            return Ok(PromptWay::File(file));
        }
        let prompt = self.prompt.as_ref().unwrap_or(match record {
            Record::Instruction { .. } => &Prompt::Alpaca,
            Record::Chat(_) => &Prompt::Chat,
            _ => &Prompt::Raw,
        });
        match (prompt, record) {
            (_, Record::Text(text)) => Ok(PromptWay::Plain(Rendered::new(text, ""))),
            (Prompt::Alpaca, record) => alpaca(record)
                .map(PromptWay::Plain)
                .ok_or_else(|| CalibrationError::NoInstruction { place: place(), found: record.kind() }),
            (Prompt::Chat, _) => Ok(PromptWay::Chat(self.chat()?)),
            (_, record) => Ok(PromptWay::Plain(raw(record))),
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

/// How a record becomes text.
enum PromptWay<'a> {
    File(&'a FileTemplate),
    Chat(&'a ChatTemplate),
    Plain(Rendered),
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
        Record::Instruction { system, instruction, input, outputs } => {
            (behind(system, "\n\n", instruction), input.as_str(), first(outputs))
        }
        Record::Completion { prefix, completions } => (Cow::from(prefix), "", first(completions)),
        Record::Chat(said) => match said.messages.as_slice() {
            [user, assistant] if user.role == "user" && assistant.role == "assistant" => {
                (Cow::from(&user.content), "", assistant.content.as_str())
            }
            _ => return None,
        },
        Record::Text(_) | Record::Tokens(_) | Record::Row(_) => return None,
    };
    Some(Rendered::new(format!("{}\n", alpaca_prompt(&instruction, input)), output))
}

/// The parts of a record as they are.
fn raw(record: &Record) -> Rendered {
    match record {
        Record::Text(text) => Rendered::new(text, ""),
        Record::Completion { prefix, completions } => Rendered::new(prefix, first(completions)),
        Record::Instruction { system, instruction, input, outputs } => {
            let instruction = behind(system, "\n", instruction);
            let lines = if input.is_empty() {
                format!("{instruction}\n")
            } else {
                format!("{instruction}\n{input}\n")
            };
            Rendered::new(lines, first(outputs))
        }
        Record::Chat(said) => {
            let lines: String =
                said.before_answer().iter().map(|message| format!("{}\n", message.content)).collect();
            Rendered::new(lines, said.answer().map_or("", |message| &message.content))
        }
        Record::Tokens(_) | Record::Row(_) => Rendered::new("", ""),
    }
}

/// A record as a conversation: an instruction and its input are what the user says.
fn conversation(record: &Record) -> Cow<'_, Conversation> {
    let exchange =
        |user: &str, assistant: &str| vec![Message::new("user", user), Message::new("assistant", assistant)];
    let messages = match record {
        Record::Chat(said) => return Cow::Borrowed(said),
        Record::Instruction { system, instruction, input, outputs } => {
            let user = behind(instruction, "\n\n", input);
            let system = (!system.is_empty()).then(|| Message::new("system", system));
            let turns = exchange(if input.is_empty() { instruction } else { &user }, first(outputs));
            system.into_iter().chain(turns).collect()
        }
        Record::Completion { prefix, completions } => exchange(prefix, first(completions)),
        Record::Text(_) | Record::Tokens(_) | Record::Row(_) => Vec::new(),
    };
    Cow::Owned(Conversation::new(messages))
}

/// A conversation in a chat template: the prompt is what the template writes for the model to go on from, to the letter.
/// The answer is what the document has behind it; where the document does not begin with the prompt, what it has from the
/// answer's content on.
fn exchange(chat: &ChatTemplate, said: &Conversation) -> Result<Rendered, minijinja::Error> {
    let document = chat.render(said, false)?;
    let Some(answer) = said.answer() else {
        return Ok(Rendered { special: false, ..Rendered::new(document, "") });
    };
    let before = Conversation { messages: said.before_answer().to_vec(), ..said.clone() };
    let prompt = chat.render(&before, true)?;
    let (answer, rewritten) = match document.strip_prefix(&prompt) {
        Some(answer) => (answer.to_owned(), false),
        None => (end_from(&document, &answer.content, &prompt), true),
    };
    Ok(Rendered { prompt, answer, special: false, rewritten })
}

/// The part of a document from its last answer on, with the space before it if the prompt does not end with one; the answer
/// as it is where the document writes it otherwise.
fn end_from(document: &str, answer: &str, prompt: &str) -> String {
    let Some(at) = document.rfind(answer).or_else(|| document.rfind(answer.trim())) else {
        return answer.to_owned();
    };
    let spaces = if prompt.ends_with(char::is_whitespace) {
        0
    } else {
        at - document[..at].trim_end_matches([' ', '\n']).len()
    };
    document[at - spaces..].to_owned()
}

/// A text behind another, if there is another.
fn behind<'a>(first: &str, between: &str, text: &'a str) -> Cow<'a, str> {
    if first.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{first}{between}{text}")) }
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
