//! `gate = silu(gate) · up`, the gated activation of LLaMA's feed-forward layer.

use rayon::prelude::*;

use crate::simd::{exp, multiversion};

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
