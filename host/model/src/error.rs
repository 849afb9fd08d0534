//! Errors of models.

use super::{
    archive::ArchiveError, checkpoint::CheckpointError, config::ConfigError, hidden::SpillError,
    resolve::ResolveError, writer::WriteError,
};
use espalier_base::interrupt::Interrupted;
use espalier_device::DeviceError;

/// The result of everything that reads, runs or writes a model.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// Errors of models.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no such model.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Its configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its weights are not usable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An archive cannot be made or read.
    #[error(transparent)]
    Archive(Box<ArchiveError>),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device failed in a block.
    #[error("in block {block}")]
    Block {
        /// The block.
        block: usize,
        /// The device's error.
        #[source]
        source: DeviceError,
    },
    /// The device failed outside of a block.
    #[error("the device failed at {name}")]
    Tensor {
        /// The name of a tensor of the checkpoint, or what else it was at.
        name: String,
        /// The device's error.
        #[source]
        source: DeviceError,
    },
    /// Hidden states cannot be kept on the disk.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// Hidden states that an earlier run kept cannot be read.
    #[error("the hidden states in {} cannot be read", .path.display())]
    HiddenStates {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The run was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// No thread can be started to load the next block.
    #[error("no thread can be started to load the next block")]
    Thread(#[source] std::io::Error),
    /// A prompt without tokens, for a model without a token that begins a text.
    #[error("prompt {index} has no tokens, and the model's configuration names no token to begin with")]
    EmptyPrompt {
        /// The prompt's number, from 0.
        index: usize,
    },
    /// Settings that nothing can be drawn with.
    #[error("sampling: {0}")]
    Sampling(String),
    /// Logits that are not numbers: weights that overflowed, or are not finite themselves.
    #[error("the model's logits are not numbers, so it cannot write; its weights are damaged or overflow")]
    NotNumbers,
    /// Logits that are not numbers, where a likelihood is measured.
    #[error(
        "the model's logits for sequence {sequence} are NaN or infinite, so nothing can be measured: its weights are damaged, \
         or overflow in their type"
    )]
    NoLikelihood {
        /// Which of the sequences, from 0.
        sequence: usize,
    },
    /// A loss whose exponential is beyond any number.
    #[error(
        "the mean loss of a token is {loss:.1} nats, and perplexity is beyond any number: the model's weights are damaged"
    )]
    NoPerplexity {
        /// The loss.
        loss: f64,
    },
    /// A weight or gradient of another shape.
    #[error("{projection} is given as {found:?}, but has {expected:?} rows and columns")]
    Candidate {
        /// The layer, or `gradient`.
        projection: &'static str,
        /// The rows and columns that were given.
        found: (usize, usize),
        /// The rows and columns that it has.
        expected: (usize, usize),
    },
    /// Blocks that would keep different widths.
    #[error("{widths}")]
    Widths {
        /// Which blocks, and what they keep.
        widths: String,
    },
    /// A batch that there is not.
    #[error("there is no batch {batch}: there are {of}")]
    Batch {
        /// The batch, from 0.
        batch: usize,
        /// Batches.
        of: usize,
    },
    /// A token that the model does not know.
    #[error("token {token} is not in the model's vocabulary of {vocab_size}")]
    Token {
        /// The token.
        token: usize,
        /// The vocabulary's size.
        vocab_size: usize,
    },
}

impl ModelError {
    /// Whether the device had no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        let (Self::Device(source) | Self::Block { source, .. } | Self::Tensor { source, .. }) = self else {
            return false;
        };
        matches!(source, DeviceError::OutOfMemory { .. })
    }

    /// An error of the device with the block that it happened in.
    pub fn in_block(self, block: usize) -> Self {
        match self {
            Self::Device(source) => Self::Block { block, source },
            other => other,
        }
    }
}

impl From<ArchiveError> for ModelError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Box::new(error))
    }
}
