//! Flags of `host eval`.

use super::Device;
use espalier_data::{Fields, Prompt};
use espalier_evaluate::Metric;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Eval {
    /// Model to measure: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(help_heading = "Model and method", long, value_name = "DIR")]
    pub(crate) model: String,
    /// Text to measure perplexity on
    #[arg(help_heading = "Evaluation", long, required_unless_present = "task", value_name = "FILE")]
    pub(crate) perplexity: Option<PathBuf>,
    /// Rows with prompts and answers, or running text, to measure `--metrics` on; or a task by its name, such as arc_easy, or
    /// by a TOML file of its definition, with its `--data`; may be given more than once
    #[arg(help_heading = "Evaluation", long, value_name = "FILE|NAME|TASK.toml")]
    pub(crate) task: Vec<String>,
    /// Rows of a named task: the hub's folder of the data set, a file, or ORG/NAME[/CONFIG] of a data set in the local Hugging
    /// Face cache; one for each such task, in order
    #[arg(help_heading = "Evaluation", long, requires = "task", value_name = "DIR|FILE|NAME")]
    pub(crate) data: Vec<String>,
    /// Examples before each item of named tasks [default: as many as the task says]
    #[arg(help_heading = "Evaluation", long, requires = "data", value_name = "N")]
    pub(crate) shots: Option<u32>,
    /// Put named tasks into the model's chat template
    #[arg(help_heading = "Evaluation", long, requires = "data")]
    pub(crate) apply_chat_template: bool,
    /// In a chat template, make each example a turn of its own; `false` makes all one message [default: true]
    #[arg(help_heading = "Evaluation", long, requires = "apply_chat_template", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) fewshot_as_multiturn: Option<bool>,
    /// Metrics of rows with answers: exact_match, f1, rouge1, rouge1_stemmed, answer_perplexity, js_divergence; of
    /// running text perplexity, js_divergence [default: exact_match,f1,rouge1]
    #[arg(help_heading = "Evaluation", long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) metrics: Vec<Metric>,
    /// Prompt format of rows: raw, alpaca, chat or a template file [default: by the fields of the rows]
    #[arg(help_heading = "Evaluation", long, value_name = "PROMPT")]
    pub(crate) prompt: Option<Prompt>,
    /// Keys of rows that have other names for their fields, such as instruction=ask,output=reply
    #[arg(help_heading = "Evaluation", long, value_name = "FIELD=KEY,…")]
    pub(crate) fields: Option<Fields>,
    /// Stop at a row that cannot be used, instead of skipping it; named tasks always do
    #[arg(help_heading = "Evaluation", long)]
    pub(crate) strict: bool,
    /// The most tokens to generate for an item [default: 64, or as many as a named task says]
    #[arg(help_heading = "Evaluation", long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_new_tokens: Option<u32>,
    /// Text that ends a prediction, beside the model's end token; may be given more than once
    #[arg(help_heading = "Evaluation", long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) stop: Vec<String>,
    /// Only the first N items of each task
    #[arg(help_heading = "Evaluation", long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// File to write every prediction to, with its scores
    #[arg(help_heading = "Output", long, requires = "task", value_name = "FILE.jsonl")]
    pub(crate) predictions: Option<PathBuf>,
    /// Replace an existing file of predictions
    #[arg(help_heading = "Output", long)]
    pub(crate) overwrite: bool,
    /// Dense model that js_divergence compares with
    #[arg(help_heading = "Evaluation", long, requires = "task", value_name = "DIR")]
    pub(crate) dense: Option<String>,
    /// Tokens in a window [default: 2048, at most the model's context]
    #[arg(help_heading = "Evaluation", long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) seqlen: Option<u32>,
    #[command(flatten)]
    pub(crate) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(crate) json: bool,
}
