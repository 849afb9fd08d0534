//! [`linear`] for a few tokens, as in generating text: a product of a matrix with vectors.

use crate::{Kernel, linear, wgsl};

/// As [`linear::KERNEL`], with its bindings and parameters and the CPU twin [`linear::cpu`]. Needs operations
/// among the invocations of a subgroup, of any size from 4 to [`WORKGROUP`].
///
/// Constants: `W_DTYPE`, `COMPUTE` and `ALIGNED` as there; `TOKENS`, at most [`MOST_TOKENS`] and no fewer than the
/// product's; `OUTPUTS`, 1, 2 or 4, that a subgroup computes at a time; `GX`, the workgroup's invocations. Any
/// number of workgroups computes the whole product.
///
/// Products are added up in another order than there, which depends on the size of subgroups and on nothing else:
/// a device has to choose between the two kernels by the number of tokens alone.
pub const KERNEL: Kernel = wgsl::linear_few::KERNEL.with::<linear::Params>();

/// The most tokens of a product.
pub const MOST_TOKENS: usize = 8;

/// Invocations of a workgroup: whole subgroups, whatever their size.
pub const WORKGROUP: u32 = 128;
