//! The loss of predicted tokens.

use crate::{Access, Kernel};
use bytemuck::{Pod, Zeroable};

/// Bindings: logits f32, targets u32, loss f32. A workgroup for every row.
pub const KERNEL: Kernel = Kernel {
    name: "cross_entropy",
    wgsl: include_str!("cross_entropy.wgsl"),
    bindings: &[Access::Read, Access::Read, Access::Write],
    params: size_of::<Params>() as u32,
};

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to compute.
    pub rows: u32,
    /// Columns of the logits.
    pub vocab: u32,
    /// The first row of the logits in its panel.
    pub logits_row: u32,
    /// The first row of the targets in its panel.
    pub targets_row: u32,
    /// The first row of the loss in its panel.
    pub loss_row: u32,
    /// The bits of the loss of a target that is not in the vocabulary: a NaN's.
    pub nan: u32,
}
