//! The interface for authors of Espalier plugins.
//!
//! A plugin is a dynamic library that offers pruning **methods**, calibration **selectors**, or both.
//! An author implements a plain Rust trait ([`Method`] or [`Selector`]) and names the type in
//! one macro line, [`export_plugin!`]; the host opens the library with `--plugin path/to/lib.so`.
//!
//! ```no_run
//! use espalier_sdk::*;
//!
//! struct Smallest;
//!
//! impl Method for Smallest {
//!     fn info() -> MethodInfo {
//!         MethodInfo::new("smallest", "drops the smallest weights of every row")
//!     }
//!     fn new(_: &Options) -> Result<Self> {
//!         Ok(Self)
//!     }
//!     fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
//!         let magnitudes = Scores::of(Unary::Abs, &layer.weight);
//!         Ok(layer.smallest_per_row(run.device(), magnitudes)?.into())
//!     }
//! }
//!
//! export_plugin! { methods: [Smallest] }
//! ```
//!
//! The crate knows neither wgpu nor the host. No ABI type appears outside [`abi`].

pub mod abi;
mod answer_rule;
mod block;
mod device;
mod documents;
mod draw;
mod error;
mod export;
mod kernel;
mod language_model;
mod layer;
pub mod message;
mod method;
mod model;
mod options;
mod pruned;
mod rng;
mod run;
mod scores;
mod selector;
pub mod service;
mod sparsity;
mod tensor;
pub mod testing;
mod windows;

pub use answer_rule::AnswerRule;
pub use block::{Block, Gradients, Tape};
pub use device::{Device, DeviceKind};
pub use documents::{Document, Documents, Source};
pub use draw::{Draw, Shuffled};
pub use error::{Code, Error, Result};
pub use espalier_ops::{Access, Axis, Binary, DType, Reduction, Selection, Unary, Within};
pub use export::{LibraryInfo, Registry};
pub use kernel::{Buffer, Kernel, Twin};
pub use language_model::{LanguageModel, ModelInfo, SamplingOptions};
pub use layer::{Layer, Statistic, Statistics};
pub use message::{LayerTarget, Level, Part};
pub use method::{Method, MethodInfo, Order, Scope};
pub use model::Model;
pub use options::{Allowed, OptionKind, OptionSpec, Options};
pub use pruned::Pruned;
pub use rng::Rng;
pub use run::Run;
pub use scores::Scores;
pub use selector::{SelectionRequest, Selector, SelectorInfo};
pub use sparsity::{ParseSparsityError, Sparsity};
pub use tensor::{Mask, Tensor, View, ViewMut};
pub use windows::Windows;

/// The version of this package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The interface version of this SDK, as (major, minor): the first two numbers of its package's version, so that there is no
/// second version to compare.
///
/// A host loads every plugin of its own major version, older or newer, as long as it has the functions that the plugin
/// [requires](MethodInfo::requires). Before 1.0, the minor version must be the same, too.
pub const INTERFACE_VERSION: (u16, u16) =
    (number(env!("CARGO_PKG_VERSION_MAJOR")), number(env!("CARGO_PKG_VERSION_MINOR")));

/// The number that these digits write.
const fn number(digits: &str) -> u16 {
    let (digits, mut number, mut at) = (digits.as_bytes(), 0, 0);
    while at < digits.len() {
        number = number * 10 + (digits[at] - b'0') as u16;
        at += 1;
    }
    number
}

/// The source of this crate.
#[cfg(feature = "source")]
pub static SOURCE: include_dir::Dir<'static> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/src");
#[cfg(feature = "source")]
pub use espalier_ops::SOURCE as OPS_SOURCE;

/// The book for authors: its code is compiled and run with the documentation's.
#[cfg(doctest)]
mod book {
    macro_rules! chapters {
        ($($name:ident = $file:literal),* $(,)?) => {
            $( #[doc = include_str!(concat!("../book/src/", $file))] pub struct $name; )*
        };
    }

    chapters! {
        FirstPlugin = "first-plugin.md",
        Scopes = "scopes.md",
        Statistics = "statistics.md",
        Kernels = "kernels.md",
        Gradients = "gradients.md",
        Options = "options.md",
        Selectors = "selectors.md",
        Testing = "testing.md",
        Versions = "versions.md",
    }
}
