//! Espalier's compute kernels. One kernel is one pair of files: `NAME.wgsl`, and `NAME.rs` with its CPU
//! twin, which is also what the CPU device runs.

mod kernel;
pub mod linear;
pub mod rms_norm;

pub use kernel::{Access, Kernel};

/// Every kernel.
pub const KERNELS: &[&Kernel] = &[&linear::KERNEL, &rms_norm::KERNEL];
