//! [`linear`] with operands rounded to f16, by hardware for products of small matrices (tensor cores,
//! WMMA, simdgroup matrices).

use crate::{Kernel, linear, wgsl};

/// As [`linear::KERNEL`], with its bindings and parameters and the CPU twin [`linear::cpu`] computing in
/// [`F16`](crate::Compute::F16). Needs subgroups, f16, and matrices of 16 × 16 × 16 f16 with sums in f32, as NVIDIA's
/// and AMD's GPUs have them.
///
/// Constants: `W_DTYPE`, `COMPUTE` and `ALIGNED` as there; `GX`, the workgroup's invocations, a multiple of the
/// subgroups' size; `SUBGROUPS`, how many that makes; `ROWS`, 1 or 2, of subgroups: see [`tile`]. All workgroups that
/// it takes to cover the result compute it; the tile does not show in it.
///
/// No GPU with such hardware was at hand when this was written. The 8 × 8 kernel was seen to be right on Mesa's
/// software driver (lavapipe 26.1); of the 16 × 16 one it is known that it is valid and translates. A device must
/// compare them with the plain kernel before it uses them, and not use them where they disagree. Nothing is written
/// where subgroups are not of the size that `SUBGROUPS` says.
pub const KERNEL_16: Kernel = wgsl::linear_cooperative_16::KERNEL.with::<linear::Params>();

/// As [`KERNEL_16`] with matrices of 8 × 8 × 8, as Apple's GPUs have them.
pub const KERNEL_8: Kernel = wgsl::linear_cooperative_8::KERNEL.with::<linear::Params>();

/// The tokens and outputs that a workgroup computes, with matrices of `side` × `side`.
pub const fn tile(side: u32, subgroups: u32, rows: u32) -> [u32; 2] {
    [4 * side * rows, 2 * side * (subgroups / rows)]
}

/// Bytes that a workgroup shares: the tiles' operands in f16, with what keeps their rows apart, and a matrix of sums for every
/// subgroup.
pub const fn workgroup_memory(side: u32, subgroups: u32, rows: u32) -> u32 {
    let [tokens, outputs] = tile(side, subgroups, rows);
    2 * wgsl::linear_cooperative_16::STRIDE * (tokens + outputs) + 4 * side * side * subgroups
}
