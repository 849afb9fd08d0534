//! What `host generate` and `host chat` share: a model that writes, and its text on standard output.

use super::{CliError, args};
use espalier_base::{interrupt, memory, text};
use espalier_data::{CalibrationError, TextStream, Tokenizer};
use espalier_device::choose;
use espalier_model::{Generation, Generator, Llama, ModelError, resolve};
use espalier_prune::Size;
use serde::Serialize;
use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Instant,
};

/// A model that writes.
pub(super) struct WritingModel {
    pub(super) folder: PathBuf,
    pub(super) model: Llama,
    pub(super) tokenizer: Tokenizer,
}

/// A text, and how it came.
#[derive(Serialize)]
pub(super) struct Written {
    pub(super) text: String,
    /// Of the prompt.
    prompt_tokens: usize,
    /// Of the text, the end token included.
    tokens: usize,
    pub(super) end: Ending,
    /// From the beginning of loading and of reading the prompt.
    seconds_to_first_token: f64,
    /// Of the tokens behind the first; none where there is no second.
    tokens_per_second: Option<f64>,
    resident_bytes: Option<u64>,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    /// The model ended it.
    EndToken,
    /// One of `--stop` was met.
    Stop,
    MaxNewTokens,
    /// The model's context is full.
    Context,
    /// Ctrl-C.
    Interrupted,
}

/// Where a text goes, piece by piece.
pub(super) type Show<'a> = dyn FnMut(&str) -> Result<(), CliError> + 'a;

impl WritingModel {
    pub(super) fn open(model: &str, device: &args::Device) -> Result<Self, CliError> {
        let folder = resolve(model)?;
        let device = choose::open(&device.request())?;
        tracing::info!("on {}", device.info());
        let model = Llama::open(&folder, device)?;
        let tokenizer = Tokenizer::open(&folder, model.config.vocab_size)?;
        Ok(Self { folder, model, tokenizer })
    }

    pub(super) fn context(&self) -> usize {
        self.model.config.max_position_embeddings
    }

    /// The tokens of a prompt, for the model to go on from.
    pub(super) fn prompt(&self, text: &str, special: bool) -> Result<Vec<u32>, CliError> {
        let mut tokens = self.tokenizer.encode(text, special, || "the prompt".to_owned())?;
        let ends =
            |token| self.tokenizer.eos() == Some(token) || self.model.config.eos_token_ids.contains(&token);
        if special && tokens.last().is_some_and(|&last| ends(last)) {
            // Some tokenizers end every text; this one goes on.
            tokens.pop();
        }
        Ok(tokens)
    }

    /// Continues a prompt that leaves room in the context, and shows the text as it comes, up to one of `stops` or to Ctrl-C.
    pub(super) fn write(
        &self,
        generator: &mut Generator,
        prompt: &[u32],
        generation: &Generation,
        stops: &[String],
        show: &mut Show,
    ) -> Result<Written, CliError> {
        let begun = Instant::now();
        let (mut first, mut last) = (begun, begun);
        let room = self.context().saturating_sub(prompt.len());
        let max_new_tokens = generation.max_new_tokens.min(room);
        let limited = Generation { max_new_tokens, ..generation.clone() };
        let mut stream = TextStream::new(&self.tokenizer, prompt, stops)?;
        let mut text = String::new();
        let mut count = 0;
        let mut failed = None;
        let written = generator.write(prompt, &limited, |written| {
            last = Instant::now();
            count = written.len();
            if count == 1 {
                first = last;
            }
            let Some(&token) = written.last().filter(|last| !limited.end_tokens.contains(last)) else {
                return true;
            };
            let mut next = || {
                let piece = stream.push(token)?;
                text += &piece;
                show(&piece)
            };
            failed = next().err();
            failed.is_some() || stream.is_stopped() || interrupt::check().is_err()
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let end = match written {
            Err(ModelError::Interrupted(_)) => Ending::Interrupted,
            Err(error) => return Err(error.into()),
            Ok(written) if written.ended => Ending::EndToken,
            Ok(_) if stream.is_stopped() => Ending::Stop,
            Ok(_) if count == generation.max_new_tokens => Ending::MaxNewTokens,
            Ok(_) if count == max_new_tokens => Ending::Context,
            Ok(_) => Ending::Interrupted,
        };
        let rest = stream.finish()?;
        text += &rest;
        show(&rest)?;
        let seconds = (last - first).as_secs_f64();
        Ok(Written {
            text,
            prompt_tokens: prompt.len(),
            tokens: count,
            end,
            seconds_to_first_token: (first - begun).as_secs_f64(),
            tokens_per_second: (count > 1).then(|| (count - 1) as f64 / seconds),
            resident_bytes: memory::resident(),
        })
    }
}

impl Written {
    /// Logs how it came, once the text has its line end.
    pub(super) fn tell(&self) {
        let rate = self.tokens_per_second.map_or_else(String::new, |rate| format!(" at {rate:.1} a second"));
        let resident =
            self.resident_bytes.map_or_else(String::new, |bytes| format!("; {} resident", Size(bytes)));
        tracing::info!(
            "{} tokens read, the first one written after {:.2} s; {} tokens written{rate}{resident}",
            self.prompt_tokens,
            self.seconds_to_first_token,
            self.tokens
        );
    }
}

/// Says of a model without a chat template what can be done instead.
pub(super) fn of_chat_template(error: CalibrationError) -> CliError {
    match error {
        CalibrationError::NoChatTemplate { path } => CliError::Usage(format!(
            "{} has no chat template, which conversations need: use `host generate` with --prompt-format raw, alpaca or a \
             template file",
            path.display()
        )),
        other => other.into(),
    }
}

/// Writes a piece of text to standard output: to the letter, but for a terminal without characters that would steer it.
pub(super) fn print_piece(piece: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let written = if out.is_terminal() {
        out.write_all(text::block(piece).as_bytes())
    } else {
        out.write_all(piece.as_bytes())
    };
    written.and_then(|()| out.flush()).map_err(CliError::Stdout)
}

/// A run that ends because whoever reads has seen enough is no failure.
pub(super) fn unless_reader_left(result: Result<(), CliError>) -> Result<(), CliError> {
    match result {
        Err(CliError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
