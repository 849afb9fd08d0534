//! Conversion between the floating-point types of checkpoints.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Floats, FloatsMut, Kernel, wgsl};

/// Bindings: x, out. A workgroup for every [`WORDS_PER_WORKGROUP`] words of the output.
///
/// Constants: `FROM` and `TO`, 0 f32 (or any 32-bit type if both are 0), 1 f16, 2 bf16 (or any 16-bit type
/// if both are the same).
pub const KERNEL: Kernel = wgsl::convert::KERNEL.with::<Params>();

/// Words of the output that a workgroup takes.
pub const WORDS_PER_WORKGROUP: usize = wgsl::convert::PER_WORKGROUP as usize;

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

/// Elements in a task. Even, so that two half-precision elements of a word stay together.
const BLOCK: usize = 16 * 1024;

/// `out = x` in `out`'s type, rounding to nearest with ties to even.
///
/// # Panics
/// The slices are of different lengths.
pub fn cpu(x: Floats<'_>, out: FloatsMut<'_>) {
    match (x, out) {
        (x, FloatsMut::F32(out)) => {
            blocks(x, out, |x, out| x.widen(out));
        }
        (Floats::F16(x), FloatsMut::F16(out)) => out.copy_from_slice(x),
        (Floats::BF16(x), FloatsMut::BF16(out)) => out.copy_from_slice(x),
        (x, FloatsMut::F16(out)) => blocks(x, out, |x, out| narrow(x, FloatsMut::F16(out))),
        (x, FloatsMut::BF16(out)) => blocks(x, out, |x, out| narrow(x, FloatsMut::BF16(out))),
    }
}

fn blocks<T: Send>(x: Floats<'_>, out: &mut [T], f: impl Fn(Floats<'_>, &mut [T]) + Sync) {
    assert_eq!(x.len(), out.len(), "x and out are of the same shape");
    out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
        f(x.slice(block * BLOCK..block * BLOCK + out.len()), out);
    });
}

/// Through f32, which holds both half-precision types exactly.
fn narrow(x: Floats<'_>, mut out: FloatsMut<'_>) {
    match x {
        Floats::F32(x) => out.narrow(x),
        x => out.narrow(&x.to_vec()),
    }
}
