//! Jinja templates: the chat template of a model, rendered as transformers does, and template files.

use super::{
    CalibrationError, Message, Record,
    prompt::{Rendered, first, part},
};
use crate::{
    files::{self, Limit},
    model::json::Object,
};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, context,
    syntax::SyntaxConfig,
    value::{Kwargs, Serde},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Instructions that a rendering may take. A conversation of a thousand messages takes some hundred thousand.
const FUEL: u64 = 50_000_000;

/// The name of the one template of an environment.
const NAME: &str = "template";

/// The chat template of a model.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    path: PathBuf,
    /// The special tokens that templates know by name, such as `bos_token`.
    tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// The template of a model's folder: `chat_template.jinja`, else the `chat_template` of
    /// `tokenizer_config.json`, of several the one named `default`.
    ///
    /// # Errors
    /// There is none, or it does not read or is no template.
    pub fn of_model(folder: &Path) -> Result<Self, CalibrationError> {
        let config = folder.join("tokenizer_config.json");
        let object = config.exists().then(|| Object::read(&config)).transpose()?;
        let mut tokens = BTreeMap::new();
        for key in
            ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"]
        {
            if let Some(token) = object.as_ref().map(|object| object.token_text(key)).transpose()?.flatten() {
                tokens.insert(key.to_owned(), token);
            }
        }
        let own = folder.join("chat_template.jinja");
        match files::read_text(&own, Limit::TEMPLATE) {
            Ok(source) => return Self::new(&source, tokens, own),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CalibrationError::Read { path: own, source }),
        }
        let source = object.as_ref().map(Object::chat_template).transpose()?.flatten();
        match source {
            Some(source) => Self::new(&source, tokens, config),
            None => Err(CalibrationError::NoChatTemplate { path: folder.to_owned() }),
        }
    }

    /// A template over these special tokens; `path` is where it is from.
    ///
    /// # Errors
    /// It is no template.
    pub fn new(
        source: &str,
        tokens: BTreeMap<String, String>,
        path: PathBuf,
    ) -> Result<Self, CalibrationError> {
        let wrong = |source| CalibrationError::Template { path: path.clone(), source };
        let mut environment = environment().map_err(wrong)?;
        // transformers marks what the model says with a tag of its own; what it marks is text like any.
        environment.add_template_owned(NAME, retag(source)).map_err(wrong)?;
        Ok(Self { environment, path, tokens })
    }

    /// A conversation as text, with the head of an answer behind it where the model is to go on.
    ///
    /// # Errors
    /// The template fails, or refuses the conversation.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, Error> {
        let values = context! {
            messages => Serde(messages), add_generation_prompt, tools => (), documents => (),
            ..Value::from(Serde(&self.tokens))
        };
        self.environment.get_template(NAME)?.render(values)
    }

    pub(super) fn failed(&self, place: String, source: Error) -> CalibrationError {
        CalibrationError::Render { place, path: self.path.clone(), source }
    }
}

/// A template file of the user's own.
#[derive(Debug)]
pub(super) struct FileTemplate {
    environment: Environment<'static>,
    path: PathBuf,
}

impl FileTemplate {
    pub(super) fn read(path: &Path) -> Result<Self, CalibrationError> {
        let source = files::read_text(path, Limit::TEMPLATE)
            .map_err(|source| CalibrationError::TemplateFile { path: path.to_owned(), source })?;
        let wrong = |source| CalibrationError::Template { path: path.to_owned(), source };
        let mut environment = environment().map_err(wrong)?;
        // A name that is not a field of the record is most likely misspelt.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.add_template_owned(NAME, source).map_err(wrong)?;
        Ok(Self { environment, path: path.to_owned() })
    }

    /// A record as the template puts it, parted where its answer begins. Spaces before the answer go with
    /// it: tokenizers take a space and the word behind it as one.
    pub(super) fn render(&self, record: &Record) -> Result<Rendered, Error> {
        // Text that stands in no data marks the place of the answer.
        const MARK: &str = "\u{fdd0}answer\u{fdd1}";
        let template = self.environment.get_template(NAME)?;
        let document = template.render(values(record, None))?;
        let marked = template.render(values(record, Some(MARK)))?;
        let prompt =
            marked.split_once(MARK).map_or(document.as_str(), |(prompt, _)| prompt.trim_end_matches(' '));
        Ok(part(&document, prompt))
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
        Record::Instruction { instruction, input, outputs } => {
            context! { instruction, input, output => answer.unwrap_or(first(outputs)) }
        }
        Record::Chat(messages) => {
            let mut messages = messages.clone();
            if let (Some(answer), Some(last)) =
                (answer, messages.last_mut().filter(|m| m.role == "assistant"))
            {
                last.content = answer.to_owned();
            }
            context! { messages => Serde(messages) }
        }
        Record::Tokens(input_ids) => context! { input_ids },
    }
}

/// Jinja as transformers sets it up.
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    // A template that does not end comes to one.
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<(), Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    // The date of the day, `strftime_now`, is left undefined on purpose: templates that ask for it have a
    // fixed one for this case, and the same command keeps giving the same bytes.
    environment.add_filter("tojson", to_json);
    Ok(environment)
}

/// Python's `json.dumps(value, ensure_ascii=False)`, which the usual filter differs from: it escapes for
/// HTML and leaves out spaces.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let failed = |error| Error::new(ErrorKind::BadSerialization, "a value is no JSON").with_source(error);
    let indent: Option<usize> = options.get("indent")?;
    let mut bytes = Vec::new();
    match indent {
        Some(indent) => {
            let spaces = vec![b' '; indent];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&spaces);
            value
                .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
                .map_err(failed)?;
        }
        None => {
            value
                .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced))
                .map_err(failed)?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// JSON on one line with a space behind every comma and colon.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The template with `{% generation %}` … `{% endgeneration %}` as a condition that always holds.
fn retag(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let name_at = tag.len() - tag.trim_start_matches(['-', '+', ' ', '\n', '\t']).len();
        let (lead, name) = tag.split_at(name_at);
        out.push_str(lead);
        rest = name;
        for (from, to) in [("generation", "if true"), ("endgeneration", "endif")] {
            let follows = name.strip_prefix(from);
            if let Some(follows) =
                follows.filter(|rest| rest.trim_start().trim_start_matches(['-', '+']).starts_with("%}"))
            {
                out.push_str(to);
                rest = follows;
                break;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
