//! The diagonal of a square matrix: taking it out, and adding to it.

use bytemuck::{Pod, Zeroable};

use crate::{Kernel, wgsl};

/// Bindings: x, out f32; or with `ADD` d, x. A workgroup for every [`PER_WORKGROUP`] rows.
///
/// Constants: `ADD`, whether to add to the diagonal.
pub const KERNEL: Kernel = wgsl::diagonal::KERNEL.with::<Params>();

/// Rows of a workgroup.
pub const PER_WORKGROUP: usize = wgsl::diagonal::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of the matrix.
    pub rows: u32,
    /// Its columns.
    pub cols: u32,
    /// The first row.
    pub first: u32,
    /// The first row in its panel.
    pub row: u32,
}

/// `out[j] = x[j, j]`.
///
/// # Panics
/// x is not square, or out is not as long as a row.
pub fn take(x: &[f32], out: &mut [f32]) {
    let side = out.len();
    assert_eq!(x.len(), side * side, "x is square");
    for (j, out) in out.iter_mut().enumerate() {
        *out = x[j * side + j];
    }
}

/// `x[j, j] += d[j]`.
///
/// # Panics
/// x is not square, or d is not as long as a row.
pub fn add(d: &[f32], x: &mut [f32]) {
    let side = d.len();
    assert_eq!(x.len(), side * side, "x is square");
    for (j, d) in d.iter().enumerate() {
        x[j * side + j] += d;
    }
}
