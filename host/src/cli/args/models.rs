//! Flags of the commands that look at what is there.

use super::Device;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Devices {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Model to inspect: a Hugging Face folder, an archive, or ORG/NAME in the local Hugging Face cache
    #[arg(value_name = "DIR")]
    pub(crate) model: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Pruned model, a folder or an archive, with its espalier.json
    #[arg(value_name = "OUT")]
    pub(crate) folder: PathBuf,
    /// Model that it was made of [default: what the manifest says, if it is there]
    #[arg(help_heading = "Model and method", long, value_name = "DIR")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Clean {
    /// Folder that has unfinished outputs in it, or an --out that was not finished
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// List them with size and age, and remove none
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pack {
    /// Model to pack: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(value_name = "DIR")]
    pub(crate) model: String,
    /// Archive to write, such as MODEL.sparse
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Replace the archive if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Unpack {
    /// Archive that `host pack` made
    #[arg(value_name = "FILE")]
    pub(crate) archive: PathBuf,
    /// Folder to write, which does not exist yet
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
