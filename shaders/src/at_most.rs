//! The mask of the scores that are at most their threshold.

use rayon::prelude::*;

/// Sets the bits of the scores that are at most their threshold and clears all others: scores `[rows, cols]`,
/// thresholds one, or one a row, mask `[rows, ⌈cols / 32⌉]`. NaN is at most nothing.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(scores: &[f32], cols: usize, thresholds: &[f32], mask: &mut [u32]) {
    if cols == 0 {
        return;
    }
    let (rows, words) = (scores.len() / cols, cols.div_ceil(32));
    assert_eq!(rows * words, mask.len(), "mask is [rows, ⌈cols / 32⌉]");
    assert!(thresholds.len() == 1 || thresholds.len() == rows, "thresholds are [1, 1] or [rows, 1]");
    let lines = scores.par_chunks_exact(cols).zip(mask.par_chunks_exact_mut(words));
    lines.enumerate().with_min_len((1 << 14) / cols + 1).for_each(|(row, (scores, mask))| {
        let threshold = if thresholds.len() == 1 { thresholds[0] } else { thresholds[row] };
        for (scores, word) in scores.chunks(32).zip(mask) {
            *word = 0;
            for (bit, &score) in scores.iter().enumerate() {
                *word |= u32::from(score <= threshold) << bit;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn equal_counts_and_nan_does_not() {
        let scores = [1.0, 2.0, f32::NAN, 0.0, 2.5, 2.0];
        let mut mask = [u32::MAX; 2];
        super::cpu(&scores, 3, &[2.0], &mut mask);
        assert_eq!(mask, [0b011, 0b101]);
        super::cpu(&scores, 3, &[1.0, 2.5], &mut mask);
        assert_eq!(mask, [0b001, 0b111]);
    }
}
