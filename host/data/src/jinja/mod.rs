//! Jinja as transformers sets it up: its filters, functions, tests and the methods of Python's types.

mod functions;
mod json;
mod methods;
mod rows;

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Template, UndefinedBehavior, Value,
    machinery::{self, Instruction, Instructions},
    syntax::SyntaxConfig,
    value::ValueKind,
};
use std::{borrow::Cow, collections::BTreeMap};

/// Instructions that a rendering may take. A conversation of a thousand messages takes some hundred thousand.
const FUEL: u64 = 50_000_000;

/// The name of the one template of an environment.
const NAME: &str = "template";

/// The function that `%` calls. No template can call or shadow it by this name.
const MODULO: &str = "%";

/// A template.
#[derive(Debug)]
pub(super) struct Jinja {
    environment: Environment<'static>,
}

impl Jinja {
    /// Compiles a template. An undefined name is empty text; where `strict`, it is an error.
    ///
    /// As jinja2 does, line ends are read as `\n`; a byte-order mark is dropped.
    ///
    /// # Errors
    /// The text is not a template.
    pub(super) fn new(source: &str, strict: bool) -> Result<Self, Error> {
        let mut environment = environment()?;
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        if strict {
            environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        }
        environment.add_template_owned(NAME, retag(&line_ends(source)))?;
        Ok(Self { environment })
    }

    /// The template's text over these values.
    ///
    /// # Errors
    /// The template fails, or refuses the values.
    pub(super) fn render(&self, values: Value) -> Result<String, Error> {
        let template = self.environment.get_template(NAME)?;
        match Modulo::of(&template) {
            Some(modulo) => modulo.render(&self.environment, values),
            None => template.render(values),
        }
    }
}

/// A template in which `%` is Python's, which also formats text; minijinja's takes numbers alone.
struct Modulo<'a> {
    instructions: Instructions<'a>,
    blocks: BTreeMap<&'a str, Instructions<'a>>,
}

impl<'a> Modulo<'a> {
    /// The template's instructions with a call in place of every `%`, if there is one.
    fn of(template: &'a Template<'_, '_>) -> Option<Self> {
        let compiled = machinery::get_compiled_template(template);
        let all = || compiled.blocks.values().chain([&compiled.instructions]);
        let has =
            |instructions: &Instructions| each(instructions).any(|(_, one)| matches!(one, Instruction::Rem));
        if !all().any(has) {
            return None;
        }
        let blocks = compiled.blocks.iter().map(|(&name, block)| (name, replace(block))).collect();
        Some(Self { instructions: replace(&compiled.instructions), blocks })
    }

    fn render(&self, environment: &Environment, values: Value) -> Result<String, Error> {
        let mut text = String::new();
        let mut output = machinery::make_string_output(&mut text);
        machinery::eval(
            environment,
            &self.instructions,
            values,
            &self.blocks,
            &mut output,
            AutoEscape::None,
        )?;
        drop(output);
        Ok(text)
    }
}

fn each<'i, 'a>(instructions: &'i Instructions<'a>) -> impl Iterator<Item = (u32, &'i Instruction<'a>)> {
    (0..).map_while(|at| Some((at, instructions.get(at)?)))
}

/// A copy that calls [`MODULO`] where the original divides.
fn replace<'a>(instructions: &Instructions<'a>) -> Instructions<'a> {
    let mut copy = Instructions::new(instructions.name(), instructions.source());
    for (at, one) in each(instructions) {
        let one = match one {
            Instruction::Rem => Instruction::CallFunction(MODULO, Some(2)),
            other => other.clone(),
        };
        match (instructions.get_span(at), instructions.get_line(at)) {
            (Some(span), _) => copy.add_with_span(one, span),
            (None, Some(line)) => copy.add_with_line(one, u16::try_from(line).unwrap_or(u16::MAX)),
            (None, None) => copy.add(one),
        };
    }
    copy
}

/// What templates of all kinds have.
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    // A template that does not end comes to one.
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::Number if !value.is_integer() => Ok(out.write_str(&json::number(value)?)?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    minijinja_contrib::add_to_environment(&mut environment);
    functions::add(&mut environment);
    environment.add_function(MODULO, functions::modulo);
    environment.add_filter("tojson", json::filter);
    Ok(environment)
}

/// An error of what a template does.
pub(super) fn wrong(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// The text without a byte-order mark, all its line ends `\n`.
fn line_ends(source: &str) -> String {
    source.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n")
}

/// The template with `{% generation %}` … `{% endgeneration %}`, by which transformers marks what the model says, as a
/// condition that always holds.
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
#[path = "tests.rs"]
mod tests;
