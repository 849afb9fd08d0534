//! Flags, as typed. Nothing below `cli` sees them.

use clap::{Parser, Subcommand};
use espalier_data::{Fields, Prompt, Reading, Source};
use espalier_device::{
    Compute,
    choose::{DeviceChoice, DeviceRequest},
    gpu::Backend,
};
use espalier_evaluate::Metric;
use espalier_model::layout::Projection;
use espalier_plugins::{Isolate, Policy};
use espalier_prune::{BlockRanges, Size};
use espalier_sdk::Sparsity;
use espalier_select::{Budget, WindowMode};
use espalier_study::Shard;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Prune LLaMA-family models with any method, on any device, and measure what the calibration data did.
#[derive(Debug, Parser)]
#[command(name = "host", version, max_term_width = 100, propagate_version = true, args_override_self = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) verbosity: Verbosity,
    /// Read weights instead of mapping their files, as is done on network file systems: a file that another program
    /// shortens meanwhile is then an error and does not end the process
    #[arg(help_heading = "Device", long, global = true)]
    pub(super) no_mmap: bool,
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Verbosity {
    /// Say what is done (-vv: in detail)
    #[arg(help_heading = "Logs", short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Say nothing but errors
    #[arg(help_heading = "Logs", short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Prune a model (what `host` does without a subcommand)
    Prune(Box<Prune>),
    /// Choose calibration windows and write them to a file
    Select(Box<Select>),
    /// Measure a model
    Eval(Box<Eval>),
    /// Run a study: models, dense and pruned with different calibration data, side by side
    Study(Box<Study>),
    /// List the plugins that are found, or what one library offers
    Plugins(Plugins),
    /// List devices, and which one `--device auto` takes
    Devices(Devices),
    /// Show the sparsity of a model, tensor by tensor
    Inspect(Inspect),
    /// Check a pruned model against its manifest, and against the model that it was made of
    Verify(Verify),
    /// Remove the unfinished outputs that runs left in a folder
    Clean(Clean),
    /// The process that a plugin's method runs in; started by `host` alone
    #[command(name = "plugin-process", hide = true)]
    PluginProcess(PluginProcess),
}

#[derive(Debug, clap::Args)]
pub(super) struct PluginProcess {
    pub(super) library: PathBuf,
    pub(super) sha256: String,
}

/// How plugin libraries are opened.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Plugins")]
pub(super) struct Opening {
    /// Run methods in a process of their own, whose crash or endless loop is an error and no more; `auto` does so
    /// for libraries that are not beside `host`
    #[arg(
        long, default_value_t = Isolate::Auto, value_name = "auto|always|never",
        num_args = 0..=1, require_equals = true, default_missing_value = "always"
    )]
    isolate: Isolate,
    /// Seconds that an isolated method may compute without asking the device for anything
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    plugin_timeout: u64,
    #[command(flatten)]
    trust: Trust,
}

impl Opening {
    pub(super) fn policy(&self) -> Policy {
        let patience = std::time::Duration::from_secs(self.plugin_timeout);
        Policy { isolate: self.isolate, patience, trusted_only: self.trust.trusted_only }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Trust {
    /// Open only plugins that are beside `host` or on the list of `host plugins trust`
    #[arg(
        long, env = "ESPALIER_TRUSTED_ONLY", value_parser = clap::builder::FalseyValueParser::new(),
        action = clap::ArgAction::SetTrue, help_heading = "Plugins"
    )]
    trusted_only: bool,
}

impl Trust {
    /// Selectors run in this process.
    pub(super) fn policy(&self) -> Policy {
        Policy { isolate: Isolate::Never, trusted_only: self.trusted_only, ..Policy::default() }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Prune {
    /// Plugin library: a name such as `wanda`, a file name, or a path; may be given more than once
    #[arg(help_heading = "Model and method", long, required = true, value_name = "LIB")]
    pub(super) plugin: Vec<String>,
    /// Model to prune: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(help_heading = "Model and method", long, value_name = "DIR")]
    pub(super) model: String,
    #[command(flatten)]
    pub(super) calibration: Calibration,
    /// Folder to write the pruned model to
    #[arg(help_heading = "Output", long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Replace an output of this program that is at --out, if it is as it was written, and the --profile file
    #[arg(help_heading = "Output", long)]
    pub(super) overwrite: bool,
    /// Continue an unfinished run at --out; where the run is finished already, do nothing
    #[arg(help_heading = "Output", long, conflicts_with = "restart")]
    pub(super) resume: bool,
    /// Forget the finished blocks of an unfinished run at --out
    #[arg(help_heading = "Output", long)]
    pub(super) restart: bool,
    /// Do not keep hidden states on the disk between blocks: saves disk, but a continued run computes them again
    #[arg(help_heading = "Output", long)]
    pub(super) no_keep_hidden: bool,
    /// How much to prune: a share such as 0.5, or a pattern such as 2:4
    #[arg(help_heading = "Model and method", long, default_value = "0.5", value_name = "SHARE|N:M")]
    pub(super) sparsity: Sparsity,
    /// Blocks to prune, such as 0-15,20 [default: all]
    #[arg(help_heading = "Model and method", long, value_name = "BLOCKS")]
    pub(super) layers: Option<BlockRanges>,
    /// Linear layers to leave as they are, such as down_proj; may be given more than once
    #[arg(help_heading = "Model and method", long, value_name = "NAME", value_delimiter = ',')]
    pub(super) skip: Vec<Projection>,
    /// JSON file with other sparsities for blocks (3), linear layers (down_proj) or both (3.down_proj)
    #[arg(help_heading = "Model and method", long, value_name = "FILE")]
    pub(super) layer_sparsity: Option<PathBuf>,
    /// Take all statistics in one dense pass, not behind predecessors that are already pruned
    #[arg(help_heading = "Model and method", long)]
    pub(super) no_propagate: bool,
    /// Pruning method, where the libraries offer several
    #[arg(help_heading = "Model and method", long, value_name = "NAME")]
    pub(super) method: Option<String>,
    #[command(flatten)]
    pub(super) opening: Opening,
    /// Most memory to take on the device, such as 8G [default: 90% of what it has]
    #[arg(help_heading = "Device", long, value_name = "SIZE")]
    pub(super) device_memory: Option<Size>,
    /// Most memory to take on the host; what does not fit waits in a temporary file [default: 90% of what is free]
    #[arg(help_heading = "Device", long, value_name = "SIZE")]
    pub(super) host_memory: Option<Size>,
    /// Write where the time went to a file for Chrome's trace viewer, and sum it up
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub(super) profile: Option<PathBuf>,
    #[command(flatten)]
    pub(super) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Select {
    /// Plugin library with selectors: a name, a file name or a path; may be given more than once
    #[arg(help_heading = "Model and method", long, value_name = "LIB")]
    pub(super) plugin: Vec<String>,
    /// Model that the windows are for: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(help_heading = "Model and method", long, value_name = "DIR")]
    pub(super) model: String,
    #[command(flatten)]
    pub(super) calibration: Calibration,
    /// File to write the windows to, a row of JSON each
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Replace an existing file
    #[arg(help_heading = "Output", long)]
    pub(super) overwrite: bool,
    /// Other windows to say the overlap with
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub(super) compare: Option<PathBuf>,
    #[command(flatten)]
    pub(super) trust: Trust,
    #[command(flatten)]
    pub(super) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(super) json: bool,
}

/// What calibration windows are chosen from, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Calibration data")]
pub(super) struct Calibration {
    /// Calibration data, with its weight beside other files; may be given more than once
    #[arg(long = "calibration", value_name = "FILE[:WEIGHT]")]
    sources: Vec<Source>,
    /// Keys of rows that name their fields in their own way, such as text=body
    #[arg(long, value_name = "FIELD=KEY,…")]
    fields: Option<Fields>,
    /// How rows become text: raw, alpaca, chat, or a template file [default: by the shape of the rows]
    #[arg(long, value_name = "raw|alpaca|chat|FILE")]
    prompt: Option<Prompt>,
    /// How windows are cut: crops of long documents, documents packed, or a document each [default: crop for
    /// running text, pack for instructions]
    #[arg(long, value_name = "crop|pack|pad")]
    windows: Option<WindowMode>,
    /// Windows [default: 128; all that a file of ready windows has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    samples: Option<u32>,
    /// Tokens in all windows, instead of --samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..), conflicts_with = "samples")]
    tokens: Option<u64>,
    /// Tokens in a window [default: 2048, at most the model's context]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    seqlen: Option<u32>,
    /// Seed of every random draw
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Selector [default: random]
    #[arg(long, value_name = "NAME")]
    selector: Option<String>,
    /// Option of the selector or the method; may be given more than once
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(super) options: Vec<(String, String)>,
    /// Data that must not be calibrated on: rows that share 13 words in a row with it are dropped
    #[arg(long, value_name = "FILE")]
    exclude: Vec<PathBuf>,
    /// Stop at a row that cannot be used, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Print so many of the windows, special tokens visible
    #[arg(long, value_name = "N", conflicts_with = "json")]
    pub(super) show_samples: Option<usize>,
}

impl Calibration {
    /// Whether there is any data.
    pub(super) fn is_given(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The files that are read.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Path> {
        let sources = self.sources.iter().map(|source| source.path.as_path());
        sources.chain(self.exclude.iter().map(PathBuf::as_path))
    }

    /// What is asked for; `options` are those of the selector.
    pub(super) fn request(&self, options: BTreeMap<String, String>) -> espalier_select::Request {
        let samples = self.samples.map(|samples| Budget::Samples(samples as usize));
        let tokens = self.tokens.map(|tokens| Budget::Tokens(tokens as usize));
        espalier_select::Request {
            sources: self.sources.clone(),
            reading: Reading {
                fields: self.fields.clone(),
                prompt: self.prompt.clone(),
                strict: self.strict,
                exclude: self.exclude.clone(),
            },
            windows: self.windows,
            budget: samples.or(tokens),
            seqlen: self.seqlen.map(|seqlen| seqlen as usize),
            seed: self.seed,
            selector: self.selector.clone(),
            options,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Eval {
    /// Model to measure: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(help_heading = "Model and method", long, value_name = "DIR")]
    pub(super) model: String,
    /// Text to measure perplexity on
    #[arg(help_heading = "Evaluation", long, required_unless_present = "task", value_name = "FILE")]
    pub(super) perplexity: Option<PathBuf>,
    /// Rows with prompts and answers, or running text, to measure `--metrics` on; may be given more than once
    #[arg(help_heading = "Evaluation", long, value_name = "FILE")]
    pub(super) task: Vec<Source>,
    /// What to measure on tasks: exact_match, f1, rouge1, rouge1_stemmed, answer_perplexity, js_divergence; of
    /// running text perplexity, js_divergence
    #[arg(
        help_heading = "Evaluation",
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "exact_match,f1,rouge1"
    )]
    pub(super) metrics: Vec<Metric>,
    /// How rows become prompts: raw, alpaca, chat or a template file [default: what their shape asks for]
    #[arg(help_heading = "Evaluation", long, value_name = "PROMPT")]
    pub(super) prompt: Option<Prompt>,
    /// The keys of rows that name their fields in their own way: FIELD=KEY,…, such as instruction=ask,output=reply
    #[arg(help_heading = "Evaluation", long, value_name = "FIELD=KEY,…")]
    pub(super) fields: Option<Fields>,
    /// Stop at a row that cannot be used, in place of leaving it out
    #[arg(help_heading = "Evaluation", long)]
    pub(super) strict: bool,
    /// The most tokens to write for an item
    #[arg(help_heading = "Evaluation", long, default_value = "64", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_new_tokens: u32,
    /// Text that ends a prediction, beside the model's end token; may be given more than once
    #[arg(help_heading = "Evaluation", long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(super) stop: Vec<String>,
    /// Only the first so many items of each task
    #[arg(help_heading = "Evaluation", long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
    /// File to write every prediction to, with its scores
    #[arg(help_heading = "Output", long, requires = "task", value_name = "FILE.jsonl")]
    pub(super) predictions: Option<PathBuf>,
    /// Replace an existing file of predictions
    #[arg(help_heading = "Output", long)]
    pub(super) overwrite: bool,
    /// Dense model that js_divergence compares with
    #[arg(help_heading = "Evaluation", long, requires = "task", value_name = "DIR")]
    pub(super) dense: Option<String>,
    /// Tokens in a window [default: 2048, at most the model's context]
    #[arg(help_heading = "Evaluation", long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(super) seqlen: Option<u32>,
    #[command(flatten)]
    pub(super) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Study {
    #[command(subcommand)]
    pub(super) action: Option<StudyAction>,
    /// Study file: models, methods, calibration sets, evaluations and seeds
    #[arg(value_name = "STUDY.toml", required = true)]
    pub(super) file: Option<PathBuf>,
    /// Folder of results; a study that was stopped goes on in it [default: the file's name and -results]
    #[arg(help_heading = "Output", long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// List the cells with what they will cost in time, disk and memory, and run none
    #[arg(help_heading = "Cells", long)]
    pub(super) dry_run: bool,
    /// List the cells with their hashes and states, and run none
    #[arg(help_heading = "Cells", long, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "text", conflicts_with = "dry_run")]
    pub(super) list_cells: Option<ListFormat>,
    /// Cell to run, by its hash or the beginning of it; may be given more than once [default: all]
    #[arg(help_heading = "Cells", long, value_name = "HASH", conflicts_with = "shard")]
    pub(super) cell: Vec<String>,
    /// Run every N-th cell, beginning with the I-th: 1/N to N/N are all there is
    #[arg(help_heading = "Cells", long, value_name = "I/N")]
    pub(super) shard: Option<Shard>,
    #[command(flatten)]
    pub(super) opening: Opening,
    #[command(flatten)]
    pub(super) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum StudyAction {
    /// Compare two folders of results; exit code 1 if the second is worse anywhere
    Diff(StudyDiff),
}

#[derive(Debug, clap::Args)]
pub(super) struct StudyDiff {
    /// Folder of results
    #[arg(value_name = "BEFORE")]
    pub(super) before: PathBuf,
    /// Folder of results to compare with it
    #[arg(value_name = "AFTER")]
    pub(super) after: PathBuf,
    /// How much worse a score may be, as a share of what it was
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    pub(super) tolerance: f64,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// How cells are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ListFormat {
    /// A table
    Text,
    /// One JSON object
    Json,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Plugins {
    #[command(subcommand)]
    pub(super) action: Option<PluginsAction>,
    /// Plugin library to describe: a name, a file name, or a path
    #[arg(value_name = "LIB")]
    pub(super) library: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum PluginsAction {
    /// Trust a library as it is now: add the hash of its file to your list, without running it
    Trust {
        /// Plugin library: a name, a file name, or a path
        #[arg(value_name = "LIB")]
        library: String,
    },
    /// Take a library from your list
    Untrust {
        /// Plugin library, or the hash that `host plugins trusted` shows, or the beginning of it
        #[arg(value_name = "LIB|HASH")]
        library: String,
    },
    /// List the libraries that you trust
    Trusted {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Devices {
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// Model to inspect: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(value_name = "DIR")]
    pub(super) model: String,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Folder of a pruned model, with its espalier.json
    #[arg(value_name = "OUT")]
    pub(super) folder: PathBuf,
    /// Model that it was made of [default: what the manifest says, if it is there]
    #[arg(help_heading = "Model and method", long, value_name = "DIR")]
    pub(super) model: Option<String>,
    #[command(flatten)]
    pub(super) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Clean {
    /// Folder that has unfinished outputs in it, or an --out that was not finished
    #[arg(value_name = "DIR")]
    pub(super) folder: PathBuf,
    /// List them with size and age, and remove none
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Device")]
pub(super) struct Device {
    /// Where to compute; `auto` is the best GPU, or the CPU where there is none
    #[arg(long, default_value = "auto", value_name = "auto|gpu|cpu")]
    device: DeviceChoice,
    /// Graphics interface to reach a GPU through
    #[arg(long, value_name = "BACKEND")]
    backend: Option<Backend>,
    /// GPU to take: part of its name, or its number in `host devices`
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Type that products with weights round their operands to; sums are f32 in any case
    #[arg(long, default_value_t, value_name = "f32|f16|bf16")]
    compute: Compute,
}

impl Device {
    pub(super) fn request(&self) -> DeviceRequest {
        DeviceRequest {
            choice: self.device,
            backend: self.backend,
            adapter: self.adapter.clone(),
            compute: self.compute,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share: &f64| *share >= 0.0).ok_or_else(|| "a share is 0 or more".to_owned())
}

/// The arguments with `prune` put in where no subcommand stands: `host --plugin wanda …`.
pub(super) fn with_default_command(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const ANYWHERE: [&str; 5] = ["-v", "-vv", "-q", "--verbose", "--quiet"];
    const INSTEAD: [&str; 4] = ["-h", "--help", "-V", "--version"];
    let mut args: Vec<_> = args.collect();
    let at = 1 + args.iter().skip(1).take_while(|arg| ANYWHERE.iter().any(|flag| arg == flag)).count();
    match args.get(at).map(|arg| arg.to_string_lossy()) {
        None => args.push("--help".into()),
        Some(flag) if flag.starts_with('-') && !INSTEAD.contains(&&*flag) => args.insert(at, "prune".into()),
        Some(_) => {}
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn prune_is_the_default_command() {
        let command =
            |line: &str| with_default_command(line.split(' ').map(OsString::from)).join(" ".as_ref());
        assert_eq!(command("host --plugin wanda"), "host prune --plugin wanda");
        assert_eq!(command("host -v --plugin wanda"), "host -v prune --plugin wanda");
        assert_eq!(command("host eval --model x"), "host eval --model x");
        assert_eq!(command("host --help"), "host --help");
        assert_eq!(command("host --version"), "host --version");
        assert_eq!(command("host"), "host --help");
    }
}
