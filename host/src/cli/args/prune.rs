//! Flags of `host prune`.

use super::{Calibration, Device, Opening};
use espalier_model::layout::Projection;
use espalier_prune::{BlockRanges, Size};
use espalier_sdk::Sparsity;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    /// Plugin library: a name such as `wanda`, a file name, or a path; may be given more than once
    #[arg(help_heading = "Model and method", long, required = true, value_name = "LIB")]
    pub(crate) plugin: Vec<String>,
    /// Model to prune: a Hugging Face folder, or ORG/NAME in the local Hugging Face cache
    #[arg(help_heading = "Model and method", long, value_name = "DIR")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) calibration: Calibration,
    /// Folder to write the pruned model to
    #[arg(help_heading = "Output", long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Replace an unchanged output of this program at --out, and the --profile file
    #[arg(help_heading = "Output", long)]
    pub(crate) overwrite: bool,
    /// Continue an unfinished run at --out; do nothing if the run is finished
    #[arg(help_heading = "Output", long, conflicts_with = "restart")]
    pub(crate) resume: bool,
    /// Forget the finished blocks of an unfinished run at --out
    #[arg(help_heading = "Output", long)]
    pub(crate) restart: bool,
    /// Do not keep hidden states on the disk between blocks: saves disk, but a continued run computes them again
    #[arg(help_heading = "Output", long)]
    pub(crate) no_keep_hidden: bool,
    /// How much to prune: a ratio such as 0.5, or a pattern such as 2:4
    #[arg(help_heading = "Model and method", long, default_value = "0.5", value_name = "RATIO|N:M")]
    pub(crate) sparsity: Sparsity,
    /// Blocks to prune, such as 0-15,20 [default: all]
    #[arg(help_heading = "Model and method", long, value_name = "BLOCKS")]
    pub(crate) layers: Option<BlockRanges>,
    /// Linear layers to leave as they are, such as down_proj; may be given more than once
    #[arg(help_heading = "Model and method", long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) skip: Vec<Projection>,
    /// JSON file with other sparsities for blocks (3), linear layers (down_proj) or both (3.down_proj)
    #[arg(help_heading = "Model and method", long, value_name = "FILE")]
    pub(crate) layer_sparsity: Option<PathBuf>,
    /// Gather all statistics in one pass of the dense model, not behind layers that are already pruned
    #[arg(help_heading = "Model and method", long)]
    pub(crate) no_propagate: bool,
    /// Pruning method, where the libraries offer several
    #[arg(help_heading = "Model and method", long, value_name = "NAME")]
    pub(crate) method: Option<String>,
    #[command(flatten)]
    pub(crate) opening: Opening,
    /// Most memory to use on the device, such as 8G [default: 90% of what it has]
    #[arg(help_heading = "Device", long, value_name = "SIZE")]
    pub(crate) device_memory: Option<Size>,
    /// Most memory to use on the host; hidden states that do not fit go to a temporary file [default: 90% of what is free]
    #[arg(help_heading = "Device", long, value_name = "SIZE")]
    pub(crate) host_memory: Option<Size>,
    /// Write a profile for Chrome's trace viewer to a file, and print a summary
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(crate) json: bool,
}
