//! `gate = silu(gate) · up`, the gated activation of LLaMA's feed-forward layer.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Access, Kernel,
    simd::{exp, multiversion},
};

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

/// Elements in a task.
const BLOCK: usize = 16 * 1024;

/// `gate = gate / (1 + e^−gate) · up`, element by element, in place.
///
/// # Panics
/// The slices are of different lengths.
pub fn cpu(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up are of the same shape");
    gate.par_chunks_mut(BLOCK).zip(up.par_chunks(BLOCK)).for_each(|(gate, up)| block(gate, up));
}

multiversion! {
    fn block(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }
}
