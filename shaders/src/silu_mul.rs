//! The gate of the feed-forward layer.

use crate::{Access, Kernel};
use bytemuck::{Pod, Zeroable};

/// Bindings: gate f32, in place; up f32. A workgroup for every [`PER_WORKGROUP`] elements.
pub const KERNEL: Kernel = Kernel {
    name: "silu_mul",
    wgsl: include_str!("silu_mul.wgsl"),
    bindings: &[Access::Write, Access::Read],
    params: size_of::<Params>() as u32,
};

/// Elements that a workgroup takes.
pub const PER_WORKGROUP: usize = 1024;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Elements to compute.
    pub count: u32,
    /// The first element of gate in its panel.
    pub gate_start: u32,
    /// The first element of up in its panel.
    pub up_start: u32,
}
