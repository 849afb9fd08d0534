//! `out = xᵀ`.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Kernel, parallel::Disjoint, wgsl};

/// Bindings: x, out words. A workgroup for every [`SIDE_OF_TILE`] rows and columns.
///
/// Constants: `MIRROR`, whether only what is below the diagonal is carried over; `IN_PLACE`, whether x is in
/// out's panel and its own binding means nothing.
pub const KERNEL: Kernel = wgsl::transpose::KERNEL.with::<Params>();

/// Rows and columns of a workgroup's tile.
pub const SIDE_OF_TILE: usize = wgsl::transpose::SIDE as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// The first row of x to carry over.
    pub first_row: u32,
    /// The first column of x to carry over.
    pub first_col: u32,
    /// Rows to carry over.
    pub rows: u32,
    /// Columns to carry over.
    pub cols: u32,
    /// Columns of x.
    pub x_cols: u32,
    /// Columns of out.
    pub out_cols: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The row of out in its panel that takes the first column.
    pub out_row: u32,
}

/// The side of a square that fits the first-level cache together with its image.
const SIDE: usize = 32;

/// `out = xᵀ` for x `[rows, cols]`.
///
/// # Panics
/// The slices are not of the same size.
pub fn cpu(x: &[f32], cols: usize, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "out is [cols, rows]");
    let rows = x.len().checked_div(cols).unwrap_or(0);
    if rows == 0 {
        return;
    }
    out.par_chunks_mut(SIDE * rows).enumerate().for_each(|(band, out)| {
        let first = band * SIDE;
        for from in (0..rows).step_by(SIDE) {
            for (i, line) in out.chunks_exact_mut(rows).enumerate() {
                for row in from..(from + SIDE).min(rows) {
                    line[row] = x[row * cols + first + i];
                }
            }
        }
    });
}

/// Copies the lower half of a square matrix onto its upper half.
pub(crate) fn mirror_lower(x: &mut [f32], side: usize) {
    let bands = side.div_ceil(SIDE);
    let x = Disjoint::new(x);
    (0..bands).into_par_iter().with_max_len(1).for_each(|band| {
        let rows = band * SIDE..((band + 1) * SIDE).min(side);
        for from in (rows.start..side).step_by(SIDE) {
            for row in rows.clone() {
                for col in from.max(row + 1)..(from + SIDE).min(side) {
                    // SAFETY: both elements are inside the matrix; the one written is above the diagonal in this
                    // task's rows, the one read is below it, where no task writes.
                    unsafe { *x.at(row * side + col) = *x.at(col * side + row) };
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_element_goes_to_its_place() {
        for (rows, cols) in [(1, 1), (3, 70), (65, 33), (0, 5)] {
            let x: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let mut out = vec![f32::NAN; rows * cols];
            super::cpu(&x, cols, &mut out);
            for row in 0..rows {
                for col in 0..cols {
                    assert_eq!(out[col * rows + row], x[row * cols + col]);
                }
            }
        }
        for side in [1, 31, 32, 65] {
            let mut x: Vec<f32> = (0..side * side).map(|i| i as f32).collect();
            let lower = x.clone();
            super::mirror_lower(&mut x, side);
            for row in 0..side {
                for col in 0..side {
                    let expected = if col <= row { lower[row * side + col] } else { lower[col * side + row] };
                    assert_eq!(x[row * side + col], expected);
                }
            }
        }
    }
}
