//! Espalier's compute kernels. One kernel is one pair of files: `NAME.wgsl`, and `NAME.rs` with its CPU
//! twin, which is also what the CPU device runs.

pub mod attention;
pub mod convert;
pub mod cross_entropy;
mod kernel;
pub mod linear;
pub mod rms_norm;
pub mod rope;
pub mod silu_mul;

pub use kernel::{Access, Kernel};

/// Every kernel.
pub const KERNELS: &[&Kernel] = &[
    &attention::KERNEL,
    &convert::KERNEL,
    &cross_entropy::KERNEL,
    &linear::KERNEL,
    &rms_norm::KERNEL,
    &rope::KERNEL,
    &silu_mul::KERNEL,
];
