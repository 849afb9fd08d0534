//! The operations of a device, as values. The SDK, the kernels and the host share this vocabulary.
//!
//! An [`Op`] names what is computed and its inputs of type `T`: tensors of a device, their numbers at the FFI boundary,
//! or only their shapes. Every operation has one output, which the caller made. All that is known of an operation
//! without computing it stands here once: its [name](Op::name), its [inputs](Op::pack), the
//! [check](Op::check) of its operands, and its [cost](Op::work).

mod check;
mod dtype;
mod functions;
mod op;
mod operands;
mod pack;
mod work;

pub use check::OperandError;
pub use dtype::DType;
pub use functions::{Access, Axis, Binary, Reduction, Repeat, Selection, Unary, Within};
pub use op::Op;
pub use operands::{AttentionShape, Block, Matrix, Scores, Span};
pub use pack::{Packed, UnpackError};
pub use work::Work;

/// The source of this crate.
#[cfg(feature = "source")]
pub static SOURCE: include_dir::Dir<'static> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/src");
