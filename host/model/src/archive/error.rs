//! Errors of archives.

use crate::{checkpoint::CheckpointError, writer::WriteError};
use espalier_base::{interrupt::Interrupted, output::OutputError};
use std::path::PathBuf;

/// Errors of archives.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The model, or the archive, is not usable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file beside the weights cannot be read or written.
    #[error(transparent)]
    Side(#[from] WriteError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A name by which other loaders would take the archive for dense weights.
    #[error("{} is named as dense weights are, which an archive is not: choose another name, such as MODEL.sparse", .0.display())]
    Named(PathBuf),
    /// A tensor whose name has a meaning in archives.
    #[error("{}: the tensor `{name}` cannot be packed, because archives give its name another meaning", path.display())]
    Reserved {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// What is given is an archive already.
    #[error("{} is not a model's folder: an archive is made of one", .0.display())]
    NoFolder(PathBuf),
    /// What is given is no archive.
    #[error("{} is not an archive, which `host pack` makes", .0.display())]
    NoArchive(PathBuf),
    /// A shard or a file beside the weights that is not what it was.
    #[error("{}: {file} is not in it as it was packed (its SHA-256 is another): the archive is damaged", path.display())]
    Hash {
        /// The archive.
        path: PathBuf,
        /// The shard, or the file.
        file: String,
    },
    /// A shard or a file beside the weights that is listed under another name than it has.
    #[error("{}: the names of its files are not those that it lists the SHA-256 of ({file}): the archive is damaged", path.display())]
    Listed {
        /// The archive.
        path: PathBuf,
        /// The shard, or the file.
        file: String,
    },
    /// The run was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
