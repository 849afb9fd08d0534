//! The mask of the smallest scores of every row that together stay within a share of the row's sum.

use bytemuck::{Pod, Zeroable};

use crate::{Kernel, Scores, parallel::with_scratch, simd::multiversion, wgsl};

/// Bindings: a and by of [`Scores`] f32, mask u32. A workgroup for every row. Sums are f32: a score within
/// rounding of the limit may fall on the other side than in the twin.
pub const KERNEL: Kernel = wgsl::select_mass::KERNEL.with::<Params>();

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows.
    pub rows: u32,
    /// Columns of the scores.
    pub cols: u32,
    /// The share of the row's sum.
    pub share: f32,
    /// The first row of the scores in their panel.
    pub scores_row: u32,
    /// The first row of the mask in its panel.
    pub mask_row: u32,
}

/// Sets the bits of every score up to the greatest value `t` such that all scores up to `t` together are at
/// most `share` of the row's sum, and clears all others: scores `[rows, cols]`, none negative, mask
/// `[rows, ⌈cols / 32⌉]`. Equal scores go together; a row whose sum is not finite has none selected.
/// Sums are f64, in a fixed order.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(scores: Scores<'_>, share: f32, mask: &mut [u32]) {
    scores.each_row(mask, |row, mask| {
        with_scratch(2 * scores.cols, |scratch| {
            let (computed, work) = scratch.split_at_mut(scores.cols);
            let scores = scores.row(row, computed);
            let work = bytemuck::cast_slice_mut::<_, u32>(work);
            for (work, score) in work.iter_mut().zip(scores) {
                *work = magnitude(*score);
            }
            mark(scores, first_outside(work, f64::from(share)), mask);
        });
    });
}

/// The bits of a score, which order as the score does.
#[inline(always)]
fn magnitude(score: f32) -> u32 {
    score.to_bits() & 0x7fff_ffff
}

/// The digits of the search: 11, 10 and 10 bits of the 31 that a number without a sign has.
const DIGITS: [(u32, u32); 3] = [(20, 11), (10, 10), (0, 10)];
const BUCKETS: usize = 2048;

/// The smallest bits that are not selected any more. Destroys the scores' bits.
fn first_outside(bits: &mut [u32], share: f64) -> u32 {
    let (mut bound, mut sum, mut limit, mut count) = (0, 0.0, None, bits.len());
    for (shift, width) in DIGITS {
        let digit = |bits: u32| (bits >> shift) as usize & ((1 << width) - 1);
        let mut sums = [0.0f64; BUCKETS];
        for bits in &bits[..count] {
            sums[digit(*bits)] += f64::from(f32::from_bits(*bits));
        }
        let limit = *limit.get_or_insert_with(|| share * sums.iter().sum::<f64>());
        if !limit.is_finite() {
            return 0;
        }
        let mut bucket = 0;
        while sum + sums[bucket] <= limit {
            sum += sums[bucket];
            bucket += 1;
            if bucket == 1 << width {
                // Every bucket fits: all scores at the first digit, or a last rounding at a later one.
                return bound + (1 << (shift + width));
            }
        }
        bound |= (bucket as u32) << shift;
        let mut kept = 0;
        for i in 0..count {
            let key = bits[i];
            bits[kept] = key;
            kept += usize::from(digit(key) == bucket);
        }
        count = kept;
    }
    bound
}

multiversion! {
    fn mark(scores: &[f32], bound: u32, mask: &mut [u32]) {
        for (scores, word) in scores.chunks(32).zip(mask) {
            let mut bits = 0u32;
            for (bit, score) in scores.iter().enumerate() {
                bits |= u32::from(magnitude(*score) < bound) << bit;
            }
            *word = bits;
        }
    }
}
