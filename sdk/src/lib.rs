//! The interface for authors of Espalier plugins.
//!
//! A plugin is a dynamic library that offers pruning **methods**, calibration **selectors**, or both.
//! An author implements a plain Rust trait ([`PruningMethod`] or [`Selector`]) and names the type in
//! one macro line, [`export_plugin!`]; the host opens the library with `--plugin path/to/lib.so`.
//!
//! ```no_run
//! use espalier_sdk::*;
//!
//! struct Smallest;
//!
//! impl PruningMethod for Smallest {
//!     fn info() -> MethodInfo {
//!         MethodInfo::new("smallest", "drops the smallest weights of every row")
//!     }
//!     fn new(_: &Options) -> Result<Self> {
//!         Ok(Self)
//!     }
//!     fn prune(&self, layer: &Layer, target: Sparsity, device: &Device) -> Result<Pruned> {
//!         let mask = device.smallest_per_row(Scores::of(Unary::Abs, &layer.weight), target)?;
//!         Ok(device.zero_where(&mask, &layer.weight)?.into())
//!     }
//! }
//!
//! export_plugin! { methods: [Smallest] }
//! ```
//!
//! The crate knows neither wgpu nor the host. No ABI type appears outside [`abi`].

pub mod abi;
mod device;
mod documents;
mod draw;
mod error;
mod export;
mod kernel;
mod method;
mod model;
mod options;
mod rng;
mod scores;
mod selector;
pub mod service;
mod sparsity;
mod tensor;
pub mod testing;
mod windows;

pub use device::{Device, DeviceKind};
pub use documents::{Document, Documents, Source};
pub use draw::{Draw, Shuffled};
pub use error::{Code, Error, Result};
pub use espalier_ops::{Access, Axis, Binary, DType, Reduction, Selection, Unary, Within};
pub use export::{LibraryInfo, Registry};
pub use kernel::{Buffer, Kernel, Twin};
pub use method::{Layer, MethodInfo, Order, Pruned, PruningMethod, Statistic, Statistics};
pub use model::{Model, ModelInfo, SamplingOptions};
pub use options::{Allowed, OptionKind, OptionSpec, Options};
pub use rng::Rng;
pub use scores::Scores;
pub use selector::{SelectionRequest, Selector, SelectorInfo};
pub use sparsity::{ParseSparsityError, Sparsity};
pub use tensor::{Mask, Tensor, View, ViewMut};
pub use windows::Windows;

/// The interface version of this SDK, as (major, minor). A host loads a plugin whose major version is its own and whose
/// minor version is at most its own. Before 1.0, minor versions are not compatible: both must be the same.
pub const INTERFACE_VERSION: (u16, u16) = (0, 2);

/// The source of this crate.
#[cfg(feature = "source")]
pub static SOURCE: include_dir::Dir<'static> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/src");
#[cfg(feature = "source")]
pub use espalier_ops::SOURCE as OPS_SOURCE;
