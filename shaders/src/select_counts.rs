//! The mask of the smallest scores of every row, of each as many as its count says.

use bytemuck::{Pod, Zeroable};

use crate::{Kernel, Scores, select_rows::select_smallest, wgsl};

/// Bindings: a and by of [`Scores`] f32, counts u32, mask u32. A workgroup for every row.
pub const KERNEL: Kernel = wgsl::select_counts::KERNEL.with::<Params>();

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
    /// The first row of the counts in their panel.
    pub counts_row: u32,
    /// The first row of the mask in its panel.
    pub mask_row: u32,
}

/// Sets in every row the bits of its `counts[row]` smallest scores, or of all where those are fewer, and clears all others:
/// mask `[rows, ⌈cols / 32⌉]`. Ties go to the lower column; NaN is greater than all.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(scores: Scores<'_>, counts: &[u32], mask: &mut [u32]) {
    assert_eq!(counts.len(), scores.rows(), "a count for every row");
    scores.each_row(mask, |row, mask| {
        select_smallest(scores, row, (counts[row] as usize).min(scores.cols), mask);
    });
}
