//! Flags of `host generate` and `host chat`.

use super::Device;
use espalier_data::Prompt;
use espalier_model::{Generation, LlamaConfig, Sampling};

#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Model that writes: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(help_heading = "Model and prompt", long, value_name = "DIR")]
    pub(crate) model: String,
    /// Text to go on from; `-`, or none, reads it from standard input, without the line break at its end
    #[arg(help_heading = "Model and prompt", long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// How the prompt is put to the model, as --prompt of `host eval`: raw, alpaca, chat or a template file
    #[arg(
        help_heading = "Model and prompt",
        long,
        value_name = "raw|alpaca|chat|FILE",
        default_value = "raw"
    )]
    pub(crate) prompt_format: Prompt,
    #[command(flatten)]
    pub(crate) writing: Writing,
    #[command(flatten)]
    pub(crate) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Chat {
    /// Model to talk to: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(help_heading = "Model and prompt", long, value_name = "DIR")]
    pub(crate) model: String,
    /// System message, which stands before the conversation
    #[arg(help_heading = "Model and prompt", long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) writing: Writing,
    #[command(flatten)]
    pub(crate) device: Device,
}

/// How tokens are chosen, and where a text ends.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Writing")]
pub(crate) struct Writing {
    /// The most tokens to write, as far as the model's context has room
    #[arg(long, default_value = "512", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,
    /// Text that ends what is written, beside the model's end token; may be given more than once
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) stop: Vec<String>,
    /// Divisor of the logits; 0 takes the most likely token [default: 0; with --top-k, --top-p or --min-p 1]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Draw from the K most likely tokens
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// Draw from the most likely tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Draw from tokens that have at least this share of the most likely one's probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Divisor of the logits (above 0) of tokens that are in the prompt or written already
    #[arg(long, default_value = "1", value_name = "X", allow_negative_numbers = true)]
    repetition_penalty: f64,
    /// Seed of every draw
    #[arg(long, default_value = "0", value_name = "N")]
    seed: u64,
}

impl Writing {
    /// How to generate with a model.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn generation(&self, config: &LlamaConfig) -> Result<Generation, String> {
        let restricted = self.top_k.is_some() || self.top_p.is_some() || self.min_p.is_some();
        let temperature = self.temperature.unwrap_or(if restricted { 1.0 } else { 0.0 });
        if temperature == 0.0 && restricted {
            return Err(
                "--temperature 0 takes the most likely token: leave it out, or --top-k, --top-p and --min-p"
                    .to_owned(),
            );
        }
        let sampling = (temperature != 0.0).then(|| Sampling {
            temperature,
            top_k: self.top_k.map(|k| k as usize),
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
        });
        let greedy = Generation::greedy(config, self.max_new_tokens as usize);
        let generation = Generation { sampling, repetition_penalty: self.repetition_penalty, ..greedy };
        generation.check().map_err(|error| error.to_string())?;
        Ok(generation)
    }
}
