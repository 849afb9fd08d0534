//! `silu(gate) · up`, the gate of a feed-forward layer (SwiGLU; Shazeer, 2002.05202).

use crate::simd::{exp, multiversion};

/// `gate / (1 + e^−gate) · up`
#[inline(always)]
pub(super) fn gated(gate: f32, up: f32) -> f32 {
    gate / (1.0 + exp(-gate)) * up
}

multiversion! {
    /// [`gated`], element by element, in place.
    pub(super) fn gate_all(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = gated(*gate, *up);
        }
    }
}
