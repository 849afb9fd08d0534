//! Espalier's compute kernels. One kernel is one pair of files: `NAME.wgsl`, and `NAME.rs` with its CPU
//! twin, which is also what the CPU device runs.
//!
//! Shared WGSL is in `parts`; the line `//!include NAME` stands for `parts/NAME.wgsl`. They are joined
//! when this crate is built (see `build`), and what the host has to know of a shader is then read from it.

mod compute;
mod floats;
mod kernel;
mod order;
mod packed;
#[cfg(target_arch = "x86_64")]
mod panels;
mod parallel;
mod product;
mod scores;
mod simd;

/// The [`Kernel`] and the constants of every shader, read from its source.
#[allow(dead_code, reason = "not every constant of a shader is needed in Rust")]
mod wgsl {
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

pub mod at_most;
pub mod attention;
pub mod causal_softmax;
pub mod cholesky;
pub mod convert;
pub mod copy_block;
pub mod cross_entropy;
pub mod cross_entropy_gradient;
pub mod diagonal;
pub mod expand;
pub mod gram;
pub mod js_divergence;
pub mod kth_in_rows;
pub mod kth_smallest;
pub mod linear;
pub mod linear_cooperative;
pub mod linear_few;
pub mod linear_packed;
pub mod map;
pub mod matmul;
pub mod reduce_columns;
pub mod reduce_rows;
pub mod reverse;
pub mod rms_norm;
pub mod rope;
pub mod scatter_rows;
pub mod select_counts;
pub mod select_groups;
pub mod select_mass;
pub mod select_rows;
pub mod select_whole;
pub mod symmetric_eigen;
pub mod transpose;
pub mod triangle;
pub mod triangular_inverse;
pub mod triangular_solve;
pub mod update;
pub mod zero_where;
pub mod zip;

pub use compute::{Compute, ParseComputeError, multiplies_bf16};
pub use espalier_ops::{Access, AttentionShape, Binary, Reduction, Repeat, Span, Unary};
pub use floats::{Floats, FloatsMut};
pub use kernel::Kernel;
pub use packed::{Packed, PackedError, Weights, count, count_kept, mask_bytes, split_row};
pub use scores::Scores;

/// Every kernel that runs on every device.
pub const KERNELS: &[&Kernel] = &[
    &at_most::KERNEL,
    &attention::KERNEL,
    &causal_softmax::KERNEL,
    &convert::KERNEL,
    &copy_block::KERNEL,
    &cross_entropy::KERNEL,
    &cross_entropy_gradient::KERNEL,
    &diagonal::KERNEL,
    &expand::KERNEL,
    &js_divergence::KERNEL,
    &kth_in_rows::KERNEL,
    &kth_smallest::KERNEL,
    &linear::KERNEL,
    &map::KERNEL,
    &matmul::KERNEL,
    &reduce_columns::KERNEL,
    &reduce_rows::KERNEL,
    &reverse::KERNEL,
    &rms_norm::KERNEL,
    &rope::KERNEL,
    &scatter_rows::KERNEL,
    &select_counts::KERNEL,
    &select_groups::KERNEL,
    &select_mass::KERNEL,
    &select_rows::KERNEL,
    &select_whole::KERNEL,
    &transpose::KERNEL,
    &triangle::KERNEL,
    &update::KERNEL,
    &zero_where::KERNEL,
    &zip::KERNEL,
];

/// Kernels that need subgroups.
pub const SUBGROUP_KERNELS: &[&Kernel] = &[&linear_few::KERNEL, &linear_packed::KERNEL];

/// Kernels that need subgroups, f16 and products of small matrices.
pub const COOPERATIVE_KERNELS: &[&Kernel] = &[&linear_cooperative::KERNEL_16, &linear_cooperative::KERNEL_8];

/// Every kernel.
pub fn all_kernels() -> impl Iterator<Item = &'static Kernel> {
    [KERNELS, SUBGROUP_KERNELS, COOPERATIVE_KERNELS].into_iter().flatten().copied()
}
