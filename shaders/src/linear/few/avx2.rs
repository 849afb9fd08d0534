//! Products with AVX2: two vectors have the sums of a row and a token, which are those of one with AVX-512.

use std::arch::x86_64::*;

use super::{BLOCK, Floats};
use crate::simd::{LANES, pairwise};

/// Half of [`LANES`]: a vector's.
const HALF: usize = LANES / 2;

/// As [`super::dots`], of f32 or bf16.
///
/// # Safety
/// The processor has AVX2 and FMA, and every x is as long as a row, in whole blocks.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn dots<const R: usize, const T: usize>(w: Floats, x: [&[f32]; T]) -> [[f32; T]; R] {
    let inputs = w.len() / R;
    let whole = inputs / BLOCK * BLOCK;
    std::array::from_fn(|row| match w.slice(row * inputs..(row + 1) * inputs) {
        Floats::F32(w) => {
            let rest = std::array::from_fn(|at| w.get(whole + at).copied().unwrap_or(0.0));
            // SAFETY: `load` reads a block, and x is as the caller promises.
            unsafe {
                dot(w, &rest, x, |at: *const f32| {
                    let part = |part: usize| _mm256_loadu_ps(at.add(part * HALF));
                    [part(0), part(1), part(2), part(3)]
                })
            }
        }
        Floats::BF16(w) => {
            let rest = std::array::from_fn(|at| w.get(whole + at).copied().unwrap_or_default());
            let load = |at: *const half::bf16| {
                // SAFETY: a block is read.
                let (a, b) =
                    unsafe { (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(LANES).cast())) };
                [even(a), even(b), odd(a), odd(b)]
            };
            // SAFETY: x is as the caller promises.
            unsafe { dot(w, &rest, x, load) }
        }
        Floats::F16(_) => unreachable!("f16 is widened before"),
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn even(pairs: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))
}

#[inline]
#[target_feature(enable = "avx2")]
fn odd(pairs: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32.cast_signed())))
}

/// A row's products with inputs. `load` reads a block and gives it back, widened, in quarters; `rest` is the last block, filled
/// up with zeros.
///
/// # Safety
/// The processor has AVX2 and FMA, and every x is as long as w, in whole blocks.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot<E, const T: usize>(
    w: &[E],
    rest: &[E; BLOCK],
    x: [&[f32]; T],
    load: impl Fn(*const E) -> [__m256; 4],
) -> [f32; T] {
    let mut sums = [[_mm256_setzero_ps(); 2]; T];
    let mut add = |w: *const E, first: usize| {
        let w = load(w);
        for (sums, x) in sums.iter_mut().zip(x) {
            for (part, w) in w.into_iter().enumerate() {
                // SAFETY: x has this block.
                let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(first + part * HALF)) };
                sums[part % 2] = _mm256_fmadd_ps(w, x, sums[part % 2]);
            }
        }
    };
    let whole = w.len() / BLOCK;
    for block in 0..whole {
        add(w.as_ptr().wrapping_add(block * BLOCK), block * BLOCK);
    }
    if w.len() > whole * BLOCK {
        add(rest.as_ptr(), whole * BLOCK);
    }
    sums.map(|sums| {
        let mut lanes = [0.0; LANES];
        for (lanes, sums) in lanes.chunks_exact_mut(HALF).zip(sums) {
            // SAFETY: so many lanes are written.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sums) };
        }
        pairwise(&mut lanes)
    })
}
