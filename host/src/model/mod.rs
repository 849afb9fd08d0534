//! A Hugging Face model folder: reading it, writing it, and the LLaMA forward pass.

pub mod checkpoint;
pub mod config;
#[cfg(test)]
mod fixture;
pub(crate) mod json;
pub mod layout;
pub mod rope;

/// Whether a file's first bytes say that Git LFS left a pointer where the content should be.
pub(crate) fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}
