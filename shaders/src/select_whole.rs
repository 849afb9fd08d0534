//! The mask of the smallest scores of a whole matrix.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel, Scores, kth_smallest::threshold, order::key, parallel::with_scratch, select_rows::fill, wgsl,
};

/// Bindings: a and by of [`Scores`] f32, state u32 (what [`kth_smallest`](crate::kth_smallest) left), ties u32 with a
/// row for every row, mask u32. Counting and setting bits take a workgroup for every row, adding up takes one.
///
/// Constants: `PHASE`, 0 to count the ties of rows, 1 to add them up, 2 to set bits.
pub const KERNEL: Kernel = wgsl::select_whole::KERNEL.with::<Params>();

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
    /// The first row of the ties in their panel.
    pub ties_row: u32,
    /// The first row of the mask in its panel.
    pub mask_row: u32,
}

/// Sets the bits of the `count` smallest of all scores and clears all others: mask
/// `[rows, ⌈cols / 32⌉]`. Ties go to the lower row, then to the lower column; NaN is greater than all.
///
/// # Panics
/// `count` is over the number of scores, or the slices are not of fitting sizes.
pub fn cpu(scores: Scores<'_>, count: usize, mask: &mut [u32]) {
    let (cols, all) = (scores.cols, scores.a.len());
    assert!(count <= all, "no more than all scores");
    if count == 0 || count == all {
        scores.each_row(mask, |_, mask| fill(mask, cols, count != 0));
        return;
    }
    let (threshold, below) = threshold(scores, count - 1);
    // How many ties each row has left, after those of the rows above.
    let ties = |row| {
        let tie = |score: &&f32| key(**score) == threshold;
        with_scratch(cols, |computed| scores.row(row, computed).iter().filter(tie).count())
    };
    let equal: Vec<usize> = (0..scores.rows()).into_par_iter().map(ties).collect();
    let left = equal.iter().scan(count - below, |left, &equal| {
        let mine = equal.min(*left);
        *left -= mine;
        Some(mine)
    });
    let left: Vec<usize> = left.collect();
    scores.each_row(mask, |row, mask| {
        let mut ties = left[row];
        with_scratch(cols, |computed| {
            for (scores, word) in scores.row(row, computed).chunks(32).zip(mask) {
                *word = 0;
                for (bit, &score) in scores.iter().enumerate() {
                    let key = key(score);
                    let tie = key == threshold && ties > 0;
                    ties -= usize::from(tie);
                    *word |= u32::from(key < threshold || tie) << bit;
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use crate::Scores;

    #[test]
    fn ties_go_to_the_first() {
        let scores = [1.0, 2.0, 1.0, 0.5, 1.0, 3.0];
        for (count, expected) in [(0, [0, 0]), (1, [0, 1]), (3, [0b101, 1]), (4, [0b101, 0b11]), (6, [7, 7])]
        {
            let mut mask = [u32::MAX; 2];
            super::cpu(Scores::of(&scores, 3), count, &mut mask);
            assert_eq!(mask, expected, "{count}");
        }
    }
}
