//! Errors of the weights of a model folder.

use super::HeaderError;
use std::path::PathBuf;

/// Errors of the weights of a model folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// No folder there.
    #[error("{} is not a folder", path.display())]
    NoFolder {
        /// The request.
        path: PathBuf,
    },
    /// A folder without safetensors files.
    #[error("{} holds no *.safetensors; {hint}", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// The actual content, and what to do.
        hint: String,
    },
    /// Several safetensors files, and nothing that says how they belong together.
    #[error(
        "{} holds several *.safetensors ({}), but no model.safetensors.index.json that says what is where",
        path.display(), files.join(", ")
    )]
    NoIndex {
        /// The folder.
        path: PathBuf,
        /// The files.
        files: Vec<String>,
    },
    /// A file that does not open or does not map.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A low-rank part that cannot be added to the weights.
    #[error("the low-rank part of the model cannot be used: {}: {problem}", path.display())]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that is not as it was when it was opened.
    #[error("{} was changed while it was read: what was made of it so far is not to be trusted", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Git LFS left a pointer where the weights should be.
    #[error("{} is a Git LFS pointer, not the weights themselves; fetch them with `git lfs pull`", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// A safetensors file that lies about itself, or was not fetched whole.
    #[error("{} is not usable", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: HeaderError,
    },
    /// An index that is not JSON or of another shape.
    #[error("{} is malformed", path.display())]
    IndexJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// An index that does not fit the shards.
    #[error("{}: {problem}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// The mismatch.
        problem: String,
    },
    /// Shards that the index names and that are not there.
    #[error("{} names shards that are not there: {}; fetch them", index.display(), missing.join(", "))]
    MissingShards {
        /// The index.
        index: PathBuf,
        /// The files.
        missing: Vec<String>,
    },
    /// An archive that lies about itself.
    #[error("the archive {} is damaged, or not of this program{}: {problem}", path.display(), of_tensor(.name.as_deref()))]
    Archive {
        /// The file.
        path: PathBuf,
        /// The tensor that shows it.
        name: Option<String>,
        /// The problem.
        problem: String,
    },
    /// Tensors that the model needs and that are not there.
    #[error("{}: the tensor `{first}` is missing{}{hint}", path.display(), others(*more))]
    MissingTensors {
        /// The folder.
        path: PathBuf,
        /// The first.
        first: String,
        /// How many more.
        more: usize,
        /// Why, and what to do, where that is known.
        hint: String,
    },
    /// Weights in a quantized format.
    #[error(
        "{}: the checkpoint is quantized (it holds `{name}`); pruning needs the original f32, f16 or bf16 weights",
        path.display()
    )]
    Quantized {
        /// The folder.
        path: PathBuf,
        /// A tensor of that format.
        name: String,
    },
    /// A tensor of an element type that pruning cannot work with.
    #[error("{}: the tensor `{name}` is {dtype}, but only F32, F16 and BF16 weights can be pruned", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: safetensors::Dtype,
    },
    /// A tensor of another shape than the configuration makes it.
    #[error(
        "{}: the tensor `{name}` has the shape {found:?}, but config.json makes it {expected:?}",
        path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape by the configuration.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
}

fn of_tensor(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(", at tensor `{}`", espalier_base::text::line(name)))
}

fn others(more: usize) -> String {
    match more {
        0 => String::new(),
        1 => " (and one more)".to_owned(),
        more => format!(" (and {more} more)"),
    }
}
