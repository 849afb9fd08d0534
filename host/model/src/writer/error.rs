//! Errors of writing a checkpoint.

use crate::{archive::ArchiveError, checkpoint::CheckpointError};
use espalier_base::interrupt::Interrupted;
use std::{io, path::PathBuf};

/// Errors of writing a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The source is an archive, which has no shards to write anew.
    #[error("{} is an archive, which is not pruned further: make a folder of it with `host unpack` first", .0.display())]
    Archive(PathBuf),
    /// The target is there already.
    #[error("{} exists: choose another --out, or replace it with --overwrite", .0.display())]
    Exists(PathBuf),
    /// The target is there, and is not what this program wrote.
    #[error(
        "--overwrite replaces only outputs of this program, as they were written, and {} is not one: {why}; choose \
         another --out, or remove it yourself", .target.display()
    )]
    NotReplaced {
        /// The target.
        target: PathBuf,
        /// The problem.
        why: String,
    },
    /// Another process writes to the target.
    #[error(
        "another run{} is writing to this --out (its unfinished output is {}): wait for it, or choose another --out",
        of_process(.process), .folder.display()
    )]
    InUse {
        /// The folder of the unfinished output.
        folder: PathBuf,
        /// The number of the process, where it is known.
        process: String,
    },
    /// A folder is in the way of the unfinished output.
    #[error(
        "{} is where the unfinished output is kept, but it holds something else: move it away, or choose another --out",
        .0.display()
    )]
    NotPartial(PathBuf),
    /// The target would damage the source.
    #[error("the output {} and the model {} contain one another: choose another --out", .target.display(), .source_dir.display())]
    Overlaps {
        /// The target.
        target: PathBuf,
        /// The model that is read.
        source_dir: PathBuf,
    },
    /// The factors of a low-rank part do not fit into a file.
    #[error("the low-rank part of {name} cannot be written")]
    LowRank {
        /// The weight.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The target has no folder name.
    #[error("{} is not the name of a folder that can be written", .0.display())]
    NoName(PathBuf),
    /// The disk cannot hold the output.
    #[error(
        "{} has {:.1} MiB free, but the pruned model takes up to {:.1} MiB while it is made: make room or choose another --out",
        .folder.display(), mebibytes(*.free), mebibytes(*.needed)
    )]
    NoRoom {
        /// Where the output would be.
        folder: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written{}", .path.display(), if is_full(.source) { ": the disk is full" } else { "" })]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A tensor that the source does not have.
    #[error("the checkpoint has no tensor `{name}` to write")]
    UnknownTensor {
        /// Its name.
        name: String,
    },
    /// A tensor that was forgotten.
    #[error("tensor `{name}` was never written: the checkpoint is not whole")]
    Unwritten {
        /// Its name.
        name: String,
    },
    /// A tensor of another size than the source's.
    #[error("tensor `{name}` takes {expected} bytes, not {found}")]
    Size {
        /// Its name.
        name: String,
        /// Bytes it takes.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Something is written after a write that failed.
    #[error("the output cannot be written: an earlier write failed")]
    Failed,
    /// The finished model cannot be packed.
    #[error(transparent)]
    Pack(#[from] Box<ArchiveError>),
    /// The source cannot be read, or changed meanwhile.
    #[error(transparent)]
    Source(#[from] Box<CheckpointError>),
    /// The run was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

fn of_process(process: &str) -> String {
    if process.is_empty() { String::new() } else { format!(" (process {process})") }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
