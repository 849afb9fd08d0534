//! A matrix whose zeros are left out, zeros put in.

use bytemuck::{Pod, Zeroable};

use crate::{Kernel, wgsl};

/// Bindings: the elements that are kept, the mask and where rows begin, as [`linear_packed`](crate::linear_packed) takes them; out.
/// A workgroup for every [`WORDS_PER_WORKGROUP`] words of the output.
///
/// Constants: `HALVES`, 1 for elements of 16 bits and 0 for those of 32. The CPU twin is
/// [`Packed::expand`](crate::Packed::expand).
pub const KERNEL: Kernel = wgsl::expand::KERNEL.with::<Params>();

/// Words of the output that a workgroup takes.
pub const WORDS_PER_WORKGROUP: usize = wgsl::expand::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to expand.
    pub rows: u32,
    /// The first of them in the mask.
    pub row: u32,
    /// Columns.
    pub cols: u32,
    /// The first element of the output in its panel.
    pub out_start: u32,
}
