//! Flags of `host study`.

use super::{Device, Opening};
use clap::Subcommand;
use espalier_study::Shard;
use std::{path::PathBuf, time::Duration};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Study {
    #[command(subcommand)]
    pub(crate) action: Option<StudyAction>,
    /// Study file: models, methods, calibration sets, evaluations and seeds
    #[arg(value_name = "STUDY.toml", required = true)]
    pub(crate) file: Option<PathBuf>,
    /// Folder of results; a stopped study continues in it [default: the file's name and -results]
    #[arg(help_heading = "Output", long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// List the cells with what they will cost in time, disk and memory, and run none
    #[arg(help_heading = "Cells", long)]
    pub(crate) dry_run: bool,
    /// List the cells with their hashes and states, and run none
    #[arg(help_heading = "Cells", long, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "text", conflicts_with = "dry_run")]
    pub(crate) list_cells: Option<ListFormat>,
    /// Cell to run, by its hash or the beginning of it; may be given more than once [default: all]
    #[arg(help_heading = "Cells", long, value_name = "HASH", conflicts_with = "shard")]
    pub(crate) cell: Vec<String>,
    /// Run every N-th cell, beginning with the I-th; 1/N to N/N together run all
    #[arg(help_heading = "Cells", long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Begin no cell that is not expected to end within so many hours, what says most first; run again to go on
    #[arg(help_heading = "Cells", long, value_name = "HOURS", value_parser = hours, conflicts_with_all = ["dry_run", "list_cells"])]
    pub(crate) budget: Option<Duration>,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) device: Device,
    /// Print one JSON object
    #[arg(help_heading = "Output", long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StudyAction {
    /// Compare two folders of results; exit code 1 if the second is worse anywhere
    Diff(StudyDiff),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StudyDiff {
    /// Folder of results
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,
    /// Folder of results to compare with it
    #[arg(value_name = "AFTER")]
    pub(crate) after: PathBuf,
    /// How much worse a score may be, as a share of what it was
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    pub(crate) tolerance: f64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// How cells are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ListFormat {
    /// A table
    Text,
    /// One JSON object
    Json,
}

fn hours(text: &str) -> Result<Duration, String> {
    let hours: Option<f64> = text.parse().ok();
    let hours = hours.filter(|hours| *hours > 0.0 && *hours <= 100_000.0);
    hours
        .map(|hours| Duration::from_secs_f64(hours * 3600.0))
        .ok_or_else(|| "a budget is in hours, such as 2 or 0.5".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share: &f64| *share >= 0.0).ok_or_else(|| "a share is 0 or more".to_owned())
}
