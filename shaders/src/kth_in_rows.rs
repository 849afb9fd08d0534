//! The value at a place of the sorted scores of every row.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel, Scores,
    order::{select, value},
    parallel::with_scratch,
    select_rows::keys_of,
    wgsl,
};

/// Bindings: a and by of [`Scores`] f32, out f32 (one column). A workgroup for every row.
pub const KERNEL: Kernel = wgsl::kth_in_rows::KERNEL.with::<Params>();

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows.
    pub rows: u32,
    /// Columns of the scores.
    pub cols: u32,
    /// The place, from 0.
    pub place: u32,
    /// The first row of the scores in their panel.
    pub scores_row: u32,
    /// The first row of out in its panel.
    pub out_row: u32,
}

/// `out[row]` = the value at place `k`, from 0, of the row's sorted scores.
///
/// # Panics
/// `k` is not below `cols`, or the slices are not of fitting sizes.
pub fn cpu(scores: Scores<'_>, k: usize, out: &mut [f32]) {
    let cols = scores.cols;
    assert_eq!(scores.rows(), out.len(), "out is [rows, 1]");
    assert!(out.is_empty() || k < cols, "a place in a row");
    out.par_iter_mut().enumerate().for_each(|(row, out)| {
        with_scratch(2 * cols, |scratch| {
            let (computed, keys) = scratch.split_at_mut(cols);
            let keys = bytemuck::cast_slice_mut(keys);
            keys_of(scores.row(row, computed), keys);
            *out = value(select(keys, k).0);
        });
    });
}
