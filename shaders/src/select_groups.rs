//! The mask of the smallest scores of every group of contiguous columns.

use bytemuck::{Pod, Zeroable};

use crate::{Kernel, Scores, order::key, parallel::with_scratch, simd::multiversion, wgsl};

/// Bindings: a and by of [`Scores`] f32, mask u32. A workgroup for every row and [`tile_columns`] columns.
pub const KERNEL: Kernel = wgsl::select_groups::KERNEL.with::<Params>();

/// Columns in the tile of one workgroup: whole groups of `m` columns and whole words, as many as fit.
pub fn tile_columns(m: usize) -> usize {
    wgsl::select_groups::TILE as usize / m / 32 * 32 * m
}

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows.
    pub rows: u32,
    /// Columns of the scores.
    pub cols: u32,
    /// How many of a group are selected.
    pub n: u32,
    /// Columns in a group.
    pub m: u32,
    /// Columns in a tile: [`tile_columns`].
    pub tile: u32,
    /// The first row of the scores in their panel.
    pub scores_row: u32,
    /// The first row of the mask in its panel.
    pub mask_row: u32,
}

/// Sets the bits of the `n` smallest of every `m` contiguous scores of a row and clears all others: mask
/// `[rows, ⌈cols / 32⌉]`. Ties go to the lower column; NaN is greater than all.
///
/// # Panics
/// `m` is not in 1..=32 or does not divide `cols`, or the slices are not of fitting sizes.
pub fn cpu(scores: Scores<'_>, n: usize, m: usize, mask: &mut [u32]) {
    let cols = scores.cols;
    assert!((1..=32).contains(&m) && cols.is_multiple_of(m), "groups of at most 32 divide a row");
    scores.each_row(mask, |row, mask| {
        with_scratch(cols, |computed| {
            let scores = scores.row(row, computed);
            match m {
                2 => word_wise_2(scores, n as u32, mask),
                4 => word_wise_4(scores, n as u32, mask),
                8 => word_wise_8(scores, n as u32, mask),
                16 => word_wise_16(scores, n as u32, mask),
                _ => any_size(scores, n, m, mask),
            }
        });
    });
}

fn any_size(scores: &[f32], n: usize, m: usize, mask: &mut [u32]) {
    mask.fill(0);
    let mut keys = [0; 32];
    for (group, scores) in scores.chunks_exact(m).enumerate() {
        for (key_of, score) in keys.iter_mut().zip(scores) {
            *key_of = key(*score);
        }
        for i in 0..m {
            let before = keys[..i].iter().filter(|key| **key <= keys[i]).count();
            let after = keys[i + 1..m].iter().filter(|key| **key < keys[i]).count();
            let col = group * m + i;
            mask[col / 32] |= u32::from(before + after < n) << (col % 32);
        }
    }
}

/// Defines the selection for groups of a size that divides 32, a word of columns at a time: every column
/// is compared with each of its group by rotating the group, which vectorises.
macro_rules! word_wise {
    ($name:ident, $m:literal) => {
        multiversion! {
            fn $name(scores: &[f32], n: u32, mask: &mut [u32]) {
                for (scores, word) in scores.chunks(32).zip(mask) {
                    // Columns past the end are groups of their own and are never selected into.
                    let mut keys = [0u32; 32];
                    for (key_of, score) in keys.iter_mut().zip(scores) {
                        *key_of = key(*score);
                    }
                    let mut rank = [0u32; 32];
                    for turn in 1..$m {
                        for i in 0..32 {
                            let j = (i & !($m - 1)) | ((i + turn) & ($m - 1));
                            let below = if j < i { keys[j] <= keys[i] } else { keys[j] < keys[i] };
                            rank[i] += u32::from(below);
                        }
                    }
                    let mut bits = 0;
                    for i in 0..32 {
                        bits |= u32::from(rank[i] < n) << i;
                    }
                    let valid = u32::MAX >> (32 - scores.len());
                    *word = bits & valid;
                }
            }
        }
    };
}

word_wise!(word_wise_2, 2);
word_wise!(word_wise_4, 4);
word_wise!(word_wise_8, 8);
word_wise!(word_wise_16, 16);
