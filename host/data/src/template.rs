//! Jinja templates: the chat template of a model, rendered as transformers does, and template files.

use super::{
    CalibrationError, Conversation, Record, Tokens,
    jinja::{Jinja, wrong},
    rendered::{Rendered, first},
    special::SpecialTokens,
};
use espalier_base::files::{self, Limit};
use espalier_model::json::Object;
use minijinja::{Error, Value, context, value::Serde};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// The chat template of a model.
#[derive(Debug)]
pub struct ChatTemplate {
    jinja: Jinja,
    /// The template of conversations with tools, where they have one of their own.
    with_tools: Option<Jinja>,
    path: PathBuf,
    /// The special tokens that templates know by name, such as `bos_token`.
    tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// The template of a model's folder: `chat_template.jinja`, else the `chat_template` of
    /// `tokenizer_config.json`, of several the one named `default`, and `tool_use` for conversations with tools.
    ///
    /// # Errors
    /// The file does not exist, cannot be read, or is not a template.
    pub fn of_model(folder: &Path) -> Result<Self, CalibrationError> {
        let config = folder.join("tokenizer_config.json");
        let object = files::exists(&config).then(|| Object::read(&config)).transpose()?;
        let tokens = SpecialTokens::read(folder)?.named;
        let own = folder.join("chat_template.jinja");
        match files::read_text(&own, Limit::TEMPLATE) {
            Ok(source) => {
                let template = Self::new(&source, tokens, own)?;
                let other = folder.join("additional_chat_templates/tool_use.jinja");
                return match files::read_text(&other, Limit::TEMPLATE) {
                    Ok(source) => template.and_for_tools(&source, &other),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(template),
                    Err(source) => Err(CalibrationError::Read { path: other, source }),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CalibrationError::Read { path: own, source }),
        }
        let source = object.as_ref().map(Object::chat_template).transpose()?.flatten();
        match source {
            Some((source, None)) => Self::new(&source, tokens, config),
            Some((source, Some(tools))) => {
                Self::new(&source, tokens, config.clone())?.and_for_tools(&tools, &config)
            }
            None => Err(CalibrationError::NoChatTemplate { path: folder.to_owned() }),
        }
    }

    /// A template over these special tokens; `path` is where it is from.
    ///
    /// # Errors
    /// It is not a template.
    pub fn new(
        source: &str,
        tokens: BTreeMap<String, String>,
        path: PathBuf,
    ) -> Result<Self, CalibrationError> {
        let jinja = Jinja::new(source, false)
            .map_err(|source| CalibrationError::Template { path: path.clone(), source })?;
        Ok(Self { jinja, with_tools: None, path, tokens })
    }

    /// The same with another template for conversations with tools.
    fn and_for_tools(self, source: &str, path: &Path) -> Result<Self, CalibrationError> {
        let with_tools = Jinja::new(source, false)
            .map_err(|source| CalibrationError::Template { path: path.to_owned(), source })?;
        Ok(Self { with_tools: Some(with_tools), ..self })
    }

    /// A conversation as text, with the head of an answer behind it where the model is to go on.
    ///
    /// # Errors
    /// The template fails, or refuses the conversation.
    pub fn render(&self, said: &Conversation, add_generation_prompt: bool) -> Result<String, Error> {
        let values = context! {
            messages => Serde(&said.messages), add_generation_prompt, tools => Serde(&said.tools), documents => (),
            ..Value::from(Serde(&self.tokens))
        };
        let jinja = if said.has_tools() { self.with_tools.as_ref() } else { None };
        jinja.unwrap_or(&self.jinja).render(values)
    }

    /// A conversation up to where the model goes on. `place` says where it is from.
    ///
    /// # Errors
    /// The template fails, or refuses the conversation.
    pub fn prompt(
        &self,
        said: &Conversation,
        place: impl Fn() -> String,
    ) -> Result<String, CalibrationError> {
        self.render(said, true).map_err(|source| self.failed(place(), source))
    }

    pub(super) fn failed(&self, place: String, source: Error) -> CalibrationError {
        CalibrationError::Render { place, path: self.path.clone(), source }
    }
}

/// A template file of the user's own.
#[derive(Debug)]
pub(super) struct FileTemplate {
    jinja: Jinja,
    path: PathBuf,
}

impl FileTemplate {
    pub(super) fn read(path: &Path) -> Result<Self, CalibrationError> {
        let source = files::read_text(path, Limit::TEMPLATE)
            .map_err(|source| CalibrationError::TemplateFile { path: path.to_owned(), source })?;
        // A name that is not a field of the record is most likely misspelt.
        let jinja = Jinja::new(&source, true)
            .map_err(|source| CalibrationError::Template { path: path.to_owned(), source })?;
        Ok(Self { jinja, path: path.to_owned() })
    }

    /// A record as the template puts it.
    pub(super) fn document(&self, record: &Record) -> Result<String, Error> {
        self.jinja.render(values(record, None))
    }

    /// A record as the template puts it, parted where its answer begins. Spaces before the answer go with it: tokenizers
    /// take a space and the word behind it as one.
    ///
    /// The prompt is what the template writes before an answer that it knows nothing of; where that is not how the
    /// document begins, or differs from answer to answer, the template looks at the answer, and a model would see it.
    pub(super) fn render(&self, record: &Record) -> Result<Rendered, Error> {
        // Texts that stand in no data mark the place of the answer.
        const MARKS: [&str; 2] = ["\u{fdd0}answer\u{fdd1}", "\u{fdd0}A longer text, 2\u{fdd1}"];
        let document = self.document(record)?;
        let [one, other] = MARKS.map(|mark| self.jinja.render(values(record, Some(mark))));
        let (one, other) = (one?, other?);
        if one == document && other == document {
            // The template does not write the answer.
            return Ok(Rendered::new(document, ""));
        }
        let prompt = |marked: &str, mark| Some(marked.split_once(mark)?.0.trim_end_matches(' ').to_owned());
        match (prompt(&one, MARKS[0]), prompt(&other, MARKS[1])) {
            (Some(prompt), Some(other)) if prompt == other && document.starts_with(&prompt) => {
                let answer = document[prompt.len()..].to_owned();
                Ok(Rendered::new(prompt, answer))
            }
            _ => Err(wrong(
                "the template changes the answer, or what stands before it depends on the answer, so that prompt and \
                 answer cannot be told apart; write the answer as it is, and behind everything that is asked",
            )),
        }
    }

    pub(super) fn failed(&self, place: String, source: Error) -> CalibrationError {
        CalibrationError::Render { place, path: self.path.clone(), source }
    }
}

/// The fields of a record, with `answer` in place of its own where one is given.
fn values(record: &Record, answer: Option<&str>) -> Value {
    match record {
        Record::Text(text) => context! { text },
        Record::Completion { prefix, completions } => {
            context! { prefix, completion => answer.unwrap_or(first(completions)) }
        }
        Record::Instruction { system, instruction, input, outputs } => {
            context! { system, instruction, input, output => answer.unwrap_or(first(outputs)) }
        }
        Record::Chat(said) => {
            let mut messages = said.messages.clone();
            if let (Some(answer), Some(_), Some(last)) = (answer, said.answer(), messages.last_mut()) {
                *last = last.saying(answer);
            }
            context! { messages => Serde(messages), tools => Serde(&said.tools) }
        }
        Record::Tokens(Tokens { input_ids, .. }) => context! { input_ids },
        Record::Row(row) => Value::from(Serde(row)),
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
