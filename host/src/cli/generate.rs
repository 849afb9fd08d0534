//! `host generate`.

use super::{
    CliError, args, note, print_json,
    writing::{Ending, WritingModel, Written, of_chat_template, print_piece, unless_reader_left},
};
use espalier_base::{
    files::{self, Limit},
    guard, interrupt,
};
use espalier_data::{Prompt, Record, Renderer};
use espalier_model::Generator;
use serde::Serialize;
use std::io::{self, IsTerminal};

/// What was written.
#[derive(Serialize)]
struct GenerateReport<'a> {
    /// As the model reads it.
    prompt: &'a str,
    #[serde(flatten)]
    written: &'a Written,
}

pub(super) fn run(command: &args::Generate, verbosity: args::Verbosity) -> Result<(), CliError> {
    let opened = WritingModel::open(&command.model, &command.device)?;
    let generation = command.writing.generation(&opened.model.config).map_err(CliError::Usage)?;
    let format = command.prompt_format.clone();
    let renderer = Renderer::new(Some(format.clone()), &opened.folder).map_err(of_chat_template)?;
    let record = record(text(command, verbosity)?, &format);
    let rendered = renderer.render(&record, || "the prompt".to_owned())?;
    let prompt = opened.prompt(&rendered.prompt, rendered.special)?;
    if prompt.len() >= opened.context() {
        let message = format!(
            "the prompt has {} tokens, but the model's context ends at {}: shorten it",
            prompt.len(),
            opened.context()
        );
        return Err(CliError::Usage(message));
    }
    let mut show = |piece: &str| if command.json { Ok(()) } else { print_piece(piece) };
    let mut generator = Generator::new(&opened.model);
    let written = opened.write(&mut generator, &prompt, &generation, &command.writing.stop, &mut show);
    unless_reader_left(written.and_then(|written| {
        if command.json {
            print_json(&GenerateReport { prompt: &rendered.prompt, written: &written })?;
        } else if !written.text.ends_with('\n') {
            print_piece("\n")?;
        }
        written.tell();
        if written.end == Ending::Interrupted { Err(interrupt::Interrupted.into()) } else { Ok(()) }
    }))
}

/// The prompt as it was given.
fn text(command: &args::Generate, verbosity: args::Verbosity) -> Result<String, CliError> {
    if let Some(text) = command.prompt.as_ref().filter(|&text| text != "-") {
        return Ok(text.clone());
    }
    if io::stdin().is_terminal() {
        note("the prompt is read from standard input, up to Ctrl-D", verbosity);
    }
    let read = guard::interruptible(|| files::read_stream(io::stdin(), Limit::PROMPT))?;
    let text = read.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(CliError::Stdin)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// The prompt as a row of data: to the letter where it is raw, else what is asked.
fn record(text: String, format: &Prompt) -> Record {
    match format {
        Prompt::Raw => Record::Completion { prefix: text, completions: Vec::new() },
        Prompt::Alpaca | Prompt::Chat | Prompt::File(_) => Record::Instruction {
            system: String::new(),
            instruction: text,
            input: String::new(),
            outputs: Vec::new(),
        },
    }
}
