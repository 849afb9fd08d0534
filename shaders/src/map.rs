//! `out = scale · f(x) + shift`, element by element.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel, Unary,
    simd::{Fast, multiversion},
    wgsl,
};

/// Bindings: x f32, out f32; both start with their panels. A workgroup for every [`PER_WORKGROUP`] elements.
///
/// Constants: `F`, the [`Unary`]'s number; `PLAIN`, whether `scale` is 1 and `shift` 0.
pub const KERNEL: Kernel = wgsl::map::KERNEL.with::<Params>();

/// Elements that a workgroup computes.
pub const PER_WORKGROUP: usize = wgsl::map::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Elements to compute.
    pub count: u32,
    /// The factor of the values.
    pub scale: f32,
    /// The summand.
    pub shift: f32,
}

/// Elements in a task.
const BLOCK: usize = 16 * 1024;

/// `out = scale · f(x) + shift`, element by element.
///
/// # Panics
/// The slices are of different lengths.
pub fn cpu(f: Unary, x: &[f32], scale: f32, shift: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "x and out are of the same shape");
    x.par_chunks(BLOCK).zip(out.par_chunks_mut(BLOCK)).for_each(|(x, out)| block(f, x, scale, shift, out));
}

multiversion! {
    pub(crate) fn block(f: Unary, x: &[f32], scale: f32, shift: f32, out: &mut [f32]) {
        // Where nothing is scaled or shifted the value passes unchanged, -0 included.
        let plain = scale == 1.0 && shift == 0.0;
        macro_rules! each {
            ($f:expr) => {
                if plain {
                    x.iter().zip(out).for_each(|(x, out)| *out = $f.of(*x));
                } else {
                    x.iter().zip(out).for_each(|(x, out)| *out = scale * $f.of(*x) + shift);
                }
            };
        }
        match f {
            Unary::Identity => each!(Unary::Identity),
            Unary::Abs => each!(Unary::Abs),
            Unary::Square => each!(Unary::Square),
            Unary::Sqrt => each!(Unary::Sqrt),
            Unary::Reciprocal => each!(Unary::Reciprocal),
            Unary::Exp => each!(Fast::Exp),
            Unary::Log => each!(Unary::Log),
            Unary::Silu => each!(Fast::Silu),
            Unary::SiluGradient => each!(Fast::SiluGradient),
        }
    }
}
