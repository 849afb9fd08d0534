//! Rotary embedding in the half-split layout.

use crate::{Access, Kernel};
use bytemuck::{Pod, Zeroable};

/// Bindings: x f32, in place; table f32, cosines left and sines right; positions u32. A workgroup for
/// every [`PER_WORKGROUP`] pairs of elements.
pub const KERNEL: Kernel = Kernel {
    name: "rope",
    wgsl: include_str!("rope.wgsl"),
    bindings: &[Access::Write, Access::Read, Access::Read],
    params: size_of::<Params>() as u32,
};

/// Pairs of elements that a workgroup takes.
pub const PER_WORKGROUP: usize = 256;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of x to turn.
    pub rows: u32,
    /// Heads in a row.
    pub heads: u32,
    /// Elements of a head, an even number.
    pub head_dim: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of positions in its panel.
    pub positions_row: u32,
    /// The first position of the table's panel.
    pub table_start: u32,
    /// Positions in the table's panel. Rows at other positions are left as they are.
    pub table_rows: u32,
}
