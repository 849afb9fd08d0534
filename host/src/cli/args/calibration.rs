//! Flags of calibration data, and of `host select`.

use super::{Device, Opening};
use espalier_data::{Fields, Prompt, Reading, Source};
use espalier_select::{Budget, LossMask, WindowMode};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Select {
    /// Plugin library with selectors: a name, a file name or a path; may be given more than once
    #[arg(help_heading = "Model and method", long, value_name = "LIB")]
    pub(crate) plugin: Vec<String>,
    /// Model that the windows are for: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(help_heading = "Model and method", long, value_name = "DIR")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) calibration: Calibration,
    /// File to write the windows to, a row of JSON each
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Replace an existing file
    #[arg(help_heading = "Output", long)]
    pub(crate) overwrite: bool,
    /// Windows to compare the selection with
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(crate) json: bool,
}

/// Calibration data, and how windows are chosen.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Calibration data")]
pub(crate) struct Calibration {
    /// Calibration data, with its weight beside other files; may be given more than once
    #[arg(long = "calibration", value_name = "FILE[:WEIGHT]")]
    sources: Vec<Source>,
    /// Keys of rows that have other names for their fields, such as text=body
    #[arg(long, value_name = "FIELD=KEY,…")]
    fields: Option<Fields>,
    /// Prompt format of rows: raw, alpaca, chat, or a template file [default: by the fields of the rows]
    #[arg(long, value_name = "raw|alpaca|chat|FILE")]
    prompt: Option<Prompt>,
    /// How windows are cut: crops of long documents, documents packed, or a document each [default: crop for
    /// running text, pack for instructions]
    #[arg(long, value_name = "crop|pack|single")]
    windows: Option<WindowMode>,
    /// Tokens that statistics and losses count: all, or those of answers alone
    #[arg(long, value_name = "all|answers", default_value = "all", hide_default_value = true)]
    loss_mask: LossMask,
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
    pub(in crate::cli) seed: u64,
    /// Selector [default: random]
    #[arg(long, value_name = "NAME")]
    selector: Option<String>,
    /// Option of the selector or the method; may be given more than once
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) options: Vec<(String, String)>,
    /// Data that must not be calibrated on: rows that share 13 words in a row with it are dropped
    #[arg(long, value_name = "FILE")]
    exclude: Vec<PathBuf>,
    /// Stop at a row that cannot be used, instead of skipping it
    #[arg(long)]
    strict: bool,
    /// Print the first N windows, with special tokens visible
    #[arg(long, value_name = "N", conflicts_with = "json")]
    pub(crate) show_samples: Option<usize>,
}

impl Calibration {
    /// Whether there is any data.
    pub(crate) fn is_given(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The files that are read.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Path> {
        let sources = self.sources.iter().map(|source| source.path.as_path());
        sources.chain(self.exclude.iter().map(PathBuf::as_path))
    }

    /// The request; `options` are those of the selector.
    pub(crate) fn request(&self, options: BTreeMap<String, String>) -> espalier_select::Request {
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
            loss_mask: self.loss_mask,
            budget: samples.or(tokens),
            seqlen: self.seqlen.map(|seqlen| seqlen as usize),
            seed: self.seed,
            selector: self.selector.clone(),
            options,
        }
    }
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}
