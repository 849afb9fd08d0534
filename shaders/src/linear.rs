//! `y = x · wᵀ (+ bias) (+ y)`: the product of every linear layer.

use crate::{Access, Kernel};
use bytemuck::{Pod, Zeroable};

/// Bindings: x f32, w (`W_DTYPE`), bias (any of the same types; ignored without [`ADD_BIAS`]), y f32.
///
/// Constants: `W_DTYPE` 0 f32, 1 f16, 2 bf16; `ALIGNED`, whether `ins` is a multiple of 4; `GX` and
/// `GY`, powers of two: a workgroup computes `8 · GY` tokens × `8 · GX` outputs.
pub const KERNEL: Kernel = Kernel {
    name: "linear",
    wgsl: include_str!("linear.wgsl"),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Write],
    params: size_of::<Params>() as u32,
};

/// In [`Params::flags`]: add the bias, whose type's number is shifted left by [`BIAS_DTYPE_SHIFT`].
pub const ADD_BIAS: u32 = 1;
/// In [`Params::flags`]: add to what y holds.
pub const ACCUMULATE: u32 = 2;
/// Where [`Params::flags`] has the number of the bias's type.
pub const BIAS_DTYPE_SHIFT: u32 = 2;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of x and y to compute.
    pub tokens: u32,
    /// Rows of w to compute with.
    pub outs: u32,
    /// Columns of x and w.
    pub ins: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of w in its panel.
    pub w_row: u32,
    /// The first row of y in its panel.
    pub y_row: u32,
    /// The column of y where w's first row goes; also its place in the bias.
    pub y_col: u32,
    /// Columns of y.
    pub y_cols: u32,
    /// [`ADD_BIAS`], [`ACCUMULATE`] and the bias's type.
    pub flags: u32,
}
