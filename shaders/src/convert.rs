//! Conversion between floating-point types, and copies of ranges that are no whole words.

use crate::{Access, Kernel};
use bytemuck::{Pod, Zeroable};

/// Bindings: x, out. A workgroup for every [`WORDS_PER_WORKGROUP`] words of the output.
///
/// Constants: `FROM` and `TO`, 0 f32 (or any 32-bit type if both are 0), 1 f16, 2 bf16 (or any 16-bit type
/// if both are the same).
pub const KERNEL: Kernel = Kernel {
    name: "convert",
    wgsl: include_str!("convert.wgsl"),
    bindings: &[Access::Read, Access::Write],
    params: size_of::<Params>() as u32,
};

/// Words of the output that a workgroup takes.
pub const WORDS_PER_WORKGROUP: usize = 256;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Elements to convert.
    pub count: u32,
    /// The first element of x in its panel.
    pub x_start: u32,
    /// The first element of the output in its panel.
    pub out_start: u32,
}
