//! Espalier's compute kernels. One kernel is one pair of files: `NAME.wgsl`, and `NAME.rs` with its CPU
//! twin, which is also what the CPU device runs.

mod floats;
mod kernel;
mod ops;
mod order;
mod parallel;
mod product;
mod simd;
mod triangle;

pub mod at_most;
pub mod attention;
pub mod cholesky;
pub mod convert;
pub mod copy_block;
pub mod cross_entropy;
pub mod diagonal;
pub mod gram;
pub mod kth_smallest;
pub mod linear;
pub mod map;
pub mod matmul;
pub mod reduce_columns;
pub mod reduce_rows;
pub mod reverse;
pub mod rms_norm;
pub mod rope;
pub mod select_groups;
pub mod select_mass;
pub mod select_rows;
pub mod select_whole;
pub mod silu_mul;
pub mod transpose;
pub mod triangular_inverse;
pub mod triangular_solve;
pub mod zero_where;
pub mod zip;

pub use floats::{Floats, FloatsMut};
pub use kernel::{Access, Kernel};
pub use ops::{Binary, Reduction, Repeat, Unary};

/// Every kernel.
pub const KERNELS: &[&Kernel] = &[
    &attention::KERNEL,
    &convert::KERNEL,
    &cross_entropy::KERNEL,
    &linear::KERNEL,
    &map::KERNEL,
    &reduce_columns::KERNEL,
    &reduce_rows::KERNEL,
    &rms_norm::KERNEL,
    &rope::KERNEL,
    &select_groups::KERNEL,
    &select_mass::KERNEL,
    &select_rows::KERNEL,
    &silu_mul::KERNEL,
    &zero_where::KERNEL,
    &zip::KERNEL,
];
