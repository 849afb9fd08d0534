//! Root-mean-square normalisation of rows.

use crate::{Access, Kernel};
use bytemuck::{Pod, Zeroable};

/// Bindings: x f32, weight (`WEIGHT_DTYPE`), y f32. A workgroup for every row.
///
/// Constants: `WEIGHT_DTYPE` 0 f32, 1 f16, 2 bf16.
pub const KERNEL: Kernel = Kernel {
    name: "rms_norm",
    wgsl: include_str!("rms_norm.wgsl"),
    bindings: &[Access::Read, Access::Read, Access::Write],
    params: size_of::<Params>() as u32,
};

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to compute.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of y in its panel.
    pub y_row: u32,
    /// What is added to the mean of squares.
    pub eps: f32,
}
