//! Products in loops that any processor's compiler makes vectors of.

use super::{BLOCK, Floats};
use crate::simd::{LANES, pairwise};

/// As [`super::dots`], of f32.
pub(super) fn dots<const R: usize, const T: usize>(w: Floats, x: [&[f32]; T]) -> [[f32; T]; R] {
    let Floats::F32(w) = w else { unreachable!("other types are widened before") };
    let inputs = w.len() / R;
    std::array::from_fn(|row| x.map(|x| dot(&w[row * inputs..][..inputs], x)))
}

fn dot(w: &[f32], x: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (blocks, rest) = w.as_chunks::<BLOCK>();
    let mut add = |w: &[f32], x: &[f32]| {
        for ((sum, w), x) in sums.iter_mut().zip(w).zip(x) {
            *sum = multiply_add(*w, *x, *sum);
        }
    };
    for (w, x) in blocks.iter().zip(x.as_chunks::<BLOCK>().0) {
        add(&w[..LANES], &x[..LANES]);
        add(&w[LANES..], &x[LANES..]);
    }
    let x = &x[blocks.len() * BLOCK..];
    for (w, x) in rest.chunks(LANES).zip(x.chunks(LANES)) {
        add(w, x);
    }
    pairwise(&mut sums)
}

/// In one step where the target has the instruction: elsewhere it would be a call.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c }
}
