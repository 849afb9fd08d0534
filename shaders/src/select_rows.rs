//! The mask of the smallest scores of every row.

use bytemuck::{Pod, Zeroable};

use crate::{
    Kernel, Scores,
    order::{key, select},
    parallel::with_scratch,
    simd::multiversion,
    wgsl,
};

/// Bindings: a and by of [`Scores`] f32, mask u32. A workgroup for every row.
pub const KERNEL: Kernel = wgsl::select_rows::KERNEL.with::<Params>();

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows.
    pub rows: u32,
    /// Columns of the scores.
    pub cols: u32,
    /// How many of a row are selected.
    pub count: u32,
    /// The first row of the scores in their panel.
    pub scores_row: u32,
    /// The first row of the mask in its panel.
    pub mask_row: u32,
}

/// Sets the bits of the `count` smallest scores of every row and clears all others: mask
/// `[rows, ⌈cols / 32⌉]`. Ties go to the lower column; NaN is greater than all.
///
/// # Panics
/// `count` is over `cols`, or the slices are not of fitting sizes.
pub fn cpu(scores: Scores<'_>, count: usize, mask: &mut [u32]) {
    assert!(count <= scores.cols, "no more than a row's scores");
    scores.each_row(mask, |row, mask| select_smallest(scores, row, count, mask));
}

/// Sets the bits of the `count` smallest scores of a row and clears all others.
pub(crate) fn select_smallest(scores: Scores<'_>, row: usize, count: usize, mask: &mut [u32]) {
    let cols = scores.cols;
    if count == 0 || count == cols {
        fill(mask, cols, count == cols);
        return;
    }
    with_scratch(3 * cols, |scratch| {
        let (computed, scratch) = scratch.split_at_mut(cols);
        let (keys, work) = bytemuck::cast_slice_mut::<_, u32>(scratch).split_at_mut(cols);
        keys_of(scores.row(row, computed), keys);
        work.copy_from_slice(keys);
        let (threshold, below) = select(work, count - 1);
        mark(keys, threshold, count - below, mask);
    });
}

/// Clears or sets every bit that stands for a column.
pub(crate) fn fill(mask: &mut [u32], cols: usize, set: bool) {
    mask.fill(if set { u32::MAX } else { 0 });
    if let (true, Some(last)) = (set && !cols.is_multiple_of(32), mask.last_mut()) {
        *last = (1 << (cols % 32)) - 1;
    }
}

multiversion! {
    pub(crate) fn keys_of(scores: &[f32], keys: &mut [u32]) {
        for (score, out) in scores.iter().zip(keys) {
            *out = key(*score);
        }
    }
}

multiversion! {
    /// Sets the bits of the keys below the threshold and of the first `ties` equal to it.
    fn mark(keys: &[u32], threshold: u32, ties: usize, mask: &mut [u32]) {
        let mut ties = ties as u32;
        for (keys, word) in keys.chunks(32).zip(mask) {
            let (mut less, mut equal) = (0u32, 0u32);
            for (bit, key) in keys.iter().enumerate() {
                less |= u32::from(*key < threshold) << bit;
                equal |= u32::from(*key == threshold) << bit;
            }
            while equal.count_ones() > ties {
                equal &= !(1 << (31 - equal.leading_zeros()));
            }
            ties -= equal.count_ones();
            *word = less | equal;
        }
    }
}
