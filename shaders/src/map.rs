//! `out = scale · f(x) + shift`, element by element.

use rayon::prelude::*;

use crate::{Unary, simd::multiversion};

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
    fn block(f: Unary, x: &[f32], scale: f32, shift: f32, out: &mut [f32]) {
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
        }
    }
}
