//! Why a model folder's configuration is not usable.

use std::path::PathBuf;

/// The architectures that Espalier runs, as messages list them.
pub const SUPPORTED: &str = "LlamaForCausalLM, MistralForCausalLM";

/// Why a model folder's configuration is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is missing or does not open.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("{} is not valid JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Git LFS left a pointer where the content should be.
    #[error("{} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// A key that must be there is absent.
    #[error("{}: the key `{key}` is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A value of the wrong type.
    #[error("{}: `{key}` should be {expected}, but is {found}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The expected value.
        expected: &'static str,
        /// The actual value.
        found: String,
    },
    /// A value of the right type that no model can have.
    #[error("{}: `{key}`: {message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The problem.
        message: String,
    },
    /// A model of another kind.
    #[error("{}: the architecture {found} is not supported; supported are {SUPPORTED}", path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The value in the file.
        found: String,
    },
    /// An adapter in place of a model.
    #[error(
        "{} holds an adapter (adapter_config.json), not a model: merge it into its base model first, with \
         merge_and_unload() and save_pretrained() of peft",
        path.display()
    )]
    Adapter {
        /// The folder.
        path: PathBuf,
    },
    /// A model in Meta's own format.
    #[error(
        "{} holds {file} and no config.json: this is Meta's own format; use the model's Hugging Face version, or convert it \
         with transformers' convert_llama_weights_to_hf.py",
        path.display()
    )]
    Original {
        /// The folder.
        path: PathBuf,
        /// A file of that format.
        file: String,
    },
    /// Weights in a quantized format.
    #[error(
        "{}: the checkpoint is quantized ({method}); pruning needs the original f32, f16 or bf16 weights",
        path.display()
    )]
    Quantized {
        /// The file.
        path: PathBuf,
        /// The quantization's name.
        method: String,
    },
}
