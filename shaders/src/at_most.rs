//! The mask of the scores that are at most their threshold.

use bytemuck::{Pod, Zeroable};

use crate::{Kernel, Scores, parallel::with_scratch, wgsl};

/// Bindings: a and by of [`Scores`] f32, thresholds f32, mask u32. A workgroup for every [`WORDS_PER_WORKGROUP`] words
/// of the mask.
///
/// Constants: `EACH_ROW`, whether every row has a threshold of its own.
pub const KERNEL: Kernel = wgsl::at_most::KERNEL.with::<Params>();

/// Words that a workgroup computes.
pub const WORDS_PER_WORKGROUP: usize = wgsl::at_most::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows.
    pub rows: u32,
    /// Columns of the scores.
    pub cols: u32,
    /// The first row of the scores in their panel.
    pub scores_row: u32,
    /// The first row of the thresholds in their panel.
    pub thresholds_row: u32,
    /// The first row of the mask in its panel.
    pub mask_row: u32,
}

/// Sets the bits of the scores that are at most their threshold and clears all others: thresholds
/// one, or one a row, mask `[rows, ⌈cols / 32⌉]`. NaN is at most nothing.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(scores: Scores<'_>, thresholds: &[f32], mask: &mut [u32]) {
    let fits = thresholds.len() == 1 || thresholds.len() == scores.rows();
    assert!(fits, "thresholds are [1, 1] or [rows, 1]");
    scores.each_row(mask, |row, mask| {
        let threshold = if thresholds.len() == 1 { thresholds[0] } else { thresholds[row] };
        with_scratch(scores.cols, |computed| {
            for (scores, word) in scores.row(row, computed).chunks(32).zip(mask) {
                *word = 0;
                for (bit, &score) in scores.iter().enumerate() {
                    *word |= u32::from(score <= threshold) << bit;
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use crate::Scores;

    #[test]
    fn equal_counts_and_nan_does_not() {
        let scores = [1.0, 2.0, f32::NAN, 0.0, 2.5, 2.0];
        let mut mask = [u32::MAX; 2];
        super::cpu(Scores::of(&scores, 3), &[2.0], &mut mask);
        assert_eq!(mask, [0b011, 0b101]);
        super::cpu(Scores::of(&scores, 3), &[1.0, 2.5], &mut mask);
        assert_eq!(mask, [0b001, 0b111]);
    }
}
