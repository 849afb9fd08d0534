//! The Jensen-Shannon divergence of two rows of logits' distributions (Lin, 1991), in nats.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel,
    simd::{LANES, exp, maximum, multiversion, pairwise},
    wgsl,
};

/// Bindings: a, b f32 logits; out f32. A workgroup for every row.
pub const KERNEL: Kernel = wgsl::js_divergence::KERNEL.with::<Params>();

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to compute.
    pub rows: u32,
    /// Columns of the logits.
    pub vocab: u32,
    /// The first row of a in its panel.
    pub a_row: u32,
    /// The first row of b in its panel.
    pub b_row: u32,
    /// The first row of out in its panel.
    pub out_row: u32,
    /// The bits of the divergence of rows with a logit that is not a number: a NaN's.
    pub nan: u32,
}

/// `out[t] = ½ KL(p ‖ m) + ½ KL(q ‖ m)` with `p = softmax(a[t])`, `q = softmax(b[t])` and `m = ½ (p + q)`:
/// a and b `[tokens, vocab]`, out `[tokens]`.
///
/// With `s = (p − q) / (p + q)` the sum is `Σ m · ½ ((1 + s) ln (1 + s) + (1 − s) ln (1 − s))`, of which no
/// term is negative: distributions that are nearly the same do not drown in cancellation.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(a: &[f32], b: &[f32], vocab: usize, out: &mut [f32]) {
    assert_eq!(a.len(), b.len(), "logits of one shape");
    assert_eq!(a.len(), out.len() * vocab, "logits are [tokens, vocab]");
    if vocab == 0 {
        return;
    }
    let rows = a.par_chunks_exact(vocab).zip(b.par_chunks_exact(vocab));
    rows.zip(out).for_each(|((a, b), out)| {
        let (max_a, max_b) = (maximum(a), maximum(b));
        let (sum_a, sum_b) = (sum_exponentials(a, max_a), sum_exponentials(b, max_b));
        let value = divergence(a, b, max_a, max_b, (1.0 / sum_a) as f32, (1.0 / sum_b) as f32);
        // Comparisons ignore NaN; sums do not.
        *out = if (sum_a + sum_b).is_nan() { f32::NAN } else { value as f32 };
    });
}

multiversion! {
    /// `Σ e^(x − max)`, in f64 because a vocabulary is long.
    fn sum_exponentials(x: &[f32], max: f32) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let (blocks, rest) = x.as_chunks::<LANES>();
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += f64::from(exp(*x - max));
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(exp(*x - max));
        }
        pairwise(&mut lanes)
    }
}

multiversion! {
    fn divergence(a: &[f32], b: &[f32], max_a: f32, max_b: f32, scale_a: f32, scale_b: f32) -> f64 {
        let mut lanes = [0.0f64; LANES];
        for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
            let mut middle = [0.0f32; LANES];
            let mut share = [0.0f32; LANES];
            for (((a, b), middle), share) in a.iter().zip(b).zip(&mut middle).zip(&mut share) {
                let (p, q) = (exp(*a - max_a) * scale_a, exp(*b - max_b) * scale_b);
                *middle = 0.5 * (p + q);
                // Where both have underflowed there is nothing to add.
                *share = (p - q) / (p + q).max(f32::MIN_POSITIVE);
            }
            for ((lane, middle), share) in lanes.iter_mut().zip(&middle).zip(&share) {
                *lane += f64::from(middle * term(*share));
            }
        }
        pairwise(&mut lanes)
    }
}

/// `½ ((1 + s) ln (1 + s) + (1 − s) ln (1 − s))` of `s` in [−1, 1].
#[inline(always)]
fn term(s: f32) -> f32 {
    let square = s * s;
    if square < 0.0625 {
        // The logarithms would cancel; the series Σ s^2k / (2k (2k − 1)).
        let mut sum = 1.0 / 90.0;
        sum = sum * square + 1.0 / 56.0;
        sum = sum * square + 1.0 / 30.0;
        sum = sum * square + 1.0 / 12.0;
        sum = sum * square + 0.5;
        return sum * square;
    }
    // x ln x, which is 0 at 0.
    let part = |x: f32| if x > 0.0 { x * x.ln() } else { 0.0 };
    0.5 * (part(1.0 + s) + part(1.0 - s))
}
