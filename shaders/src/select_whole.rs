//! The mask of the smallest scores of a whole matrix.

use rayon::prelude::*;

use crate::{kth_smallest::threshold, order::key, select_rows::fill};

/// Sets the bits of the `count` smallest of all scores and clears all others: scores `[rows, cols]`, mask
/// `[rows, ⌈cols / 32⌉]`. Ties go to the lower row, then to the lower column; NaN is greater than all.
///
/// # Panics
/// `count` is over the number of scores, or the slices are not of fitting sizes.
pub fn cpu(scores: &[f32], cols: usize, count: usize, mask: &mut [u32]) {
    assert!(count <= scores.len(), "no more than all scores");
    if cols == 0 {
        return;
    }
    let words = cols.div_ceil(32);
    assert_eq!(scores.len() / cols * words, mask.len(), "mask is [rows, ⌈cols / 32⌉]");
    if count == 0 || count == scores.len() {
        mask.par_chunks_exact_mut(words).for_each(|mask| fill(mask, cols, count != 0));
        return;
    }
    let (threshold, below) = threshold(scores, count - 1);
    let rows = scores.par_chunks_exact(cols);
    // How many ties each row has left, after those of the rows above.
    let equal: Vec<usize> =
        rows.clone().map(|row| row.iter().filter(|&&score| key(score) == threshold).count()).collect();
    let left = equal.iter().scan(count - below, |left, &equal| {
        let mine = equal.min(*left);
        *left -= mine;
        Some(mine)
    });
    let left: Vec<usize> = left.collect();
    rows.zip(mask.par_chunks_exact_mut(words)).zip(left).for_each(|((row, mask), mut ties)| {
        for (scores, word) in row.chunks(32).zip(mask) {
            *word = 0;
            for (bit, &score) in scores.iter().enumerate() {
                let key = key(score);
                let tie = key == threshold && ties > 0;
                ties -= usize::from(tie);
                *word |= u32::from(key < threshold || tie) << bit;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn ties_go_to_the_first() {
        let scores = [1.0, 2.0, 1.0, 0.5, 1.0, 3.0];
        for (count, expected) in [(0, [0, 0]), (1, [0, 1]), (3, [0b101, 1]), (4, [0b101, 0b11]), (6, [7, 7])]
        {
            let mut mask = [u32::MAX; 2];
            super::cpu(&scores, 3, count, &mut mask);
            assert_eq!(mask, expected, "{count}");
        }
    }
}
