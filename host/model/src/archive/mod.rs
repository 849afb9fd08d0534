//! Archives: a pruned model in one file, without the zeros of its linear layers. An archive is what runs, not only what is kept:
//! it is memory-mapped, and the CPU multiplies with it as it is.
//!
//! The container is safetensors with `format: espalier-sparse` in its metadata, which other loaders refuse. In it are
//! - `espalier.file/NAME`, u8: a file beside the weights, such as `config.json`, or of the low-rank part in `adapter/`. Its SHA-256 is
//!   in the metadata, under `sha256`;
//! - `espalier.shard/NAME`, u8: all that stands before the tensors of a shard, byte for byte, by which [`unpack`](fn@unpack) makes it anew. The
//!   whole shard's SHA-256 is in the metadata, too;
//! - every tensor that is not packed, under its own name;
//! - of a packed tensor `T`, in the layout of compressed-tensors' `sparse-bitmask`: `T.compressed`, the elements that are kept, row
//!   after row; `T.bitmask`, u8 `[rows, ⌈cols / 8⌉]`, the lowest bit first; `T.row_offsets`, i64 `[rows]`, where each row begins among
//!   the kept ones; `T.shape`, i64 `[2]`. Only +0 is left out, so that −0 comes back as what it was;
//! - `espalier.padding/N`, u8: zeros, for tensors to begin at multiples of [`ALIGN`] bytes.

mod error;
mod header;
mod pack;
mod packed;
mod read;
mod unpack;

#[cfg(test)]
mod tests;

pub use error::ArchiveError;
pub use pack::{Packing, pack};
pub(crate) use packed::PackedEntry;
pub use read::mount;
pub(crate) use read::{Contents, files_in};
pub use unpack::{records, unpack};

use espalier_base::files;
use std::{io::Read, path::Path};

/// The metadata's `format`.
const FORMAT: &str = "espalier-sparse";
/// The metadata's `version`: of the layout that is described above.
const VERSION: &str = "1";
/// Before the name of a file beside the weights.
const FILE: &str = "espalier.file/";
/// Before the name of a shard.
const SHARD: &str = "espalier.shard/";
/// Before the number of a tensor that only takes up room.
const PADDING: &str = "espalier.padding/";
/// What tensors begin at multiples of: a line of the processor's caches.
pub const ALIGN: usize = 64;

/// The parts of a packed tensor, after its name.
const PARTS: [&str; 4] = [".compressed", ".bitmask", ".row_offsets", ".shape"];

/// Whether a path is named as the output of pruning is that becomes an archive: `NAME.sparse`.
pub fn is_archive_name(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "sparse")
}

/// Whether a file may be an archive: it is a safetensors file, and not named as dense weights are.
pub fn is_archive(path: &Path) -> bool {
    let is_weights = path.extension().is_some_and(|end| end == "safetensors");
    let mut beginning = [0; 9];
    !is_weights
        && path.is_file()
        && files::open(path).and_then(|mut file| file.read_exact(&mut beginning)).is_ok()
        && beginning[8] == b'{'
}

/// Whether a tensor's name would be taken for something else in an archive.
fn is_reserved(name: &str) -> bool {
    name.starts_with("espalier.") || PARTS.iter().any(|part| name.ends_with(part))
}
