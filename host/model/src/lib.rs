//! A Hugging Face model folder: reading it, writing it, and the LLaMA forward pass.

pub mod archive;
mod backward;
mod batch;
pub mod checkpoint;
pub mod config;
mod config_error;
mod error;
#[cfg(test)]
mod fixture;
pub mod generate;
pub mod hidden;
pub mod json;
pub mod layout;
mod llama;
mod loss;
mod low_rank;
pub mod narrow;
mod prefixes;
pub mod resolve;
pub mod rope;
mod walk;
pub mod writer;

pub use backward::{BlockGradients, Tape};
pub use batch::{BATCH_TOKENS, Batch, Window};
pub use checkpoint::Checkpoint;
pub use config::LlamaConfig;
pub use error::{ModelError, Result};
pub use generate::{Generated, Generation, Generator, Sampling};
pub use hidden::{HiddenStates, Placement};
pub use llama::{Block, Head, Linear, Llama, Observer};
pub use low_rank::merged;
pub use narrow::Narrow;
pub use prefixes::{PrefixPlan, SequenceRows};
pub use resolve::resolve;
pub use writer::CheckpointWriter;

/// Whether a file's first bytes say that Git LFS left a pointer where the content should be.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}
