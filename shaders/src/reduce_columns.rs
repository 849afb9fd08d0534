//! Every column gathered into one number.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Kernel, Reduction, parallel::Disjoint, reduce_rows::greater, simd::multiversion, wgsl};

/// Bindings: x f32, out f32 with a row for every [`BLOCK_ROWS`] rows of x. A workgroup for every block of rows
/// and [`COLUMNS`] columns.
///
/// Constants: `F`, the [`Reduction`]'s number; `ACCUMULATE`, whether to add to what `out` holds.
pub const KERNEL: Kernel = wgsl::reduce_columns::KERNEL.with::<Params>();

/// Rows that a workgroup gathers.
pub const BLOCK_ROWS: usize = wgsl::reduce_columns::BLOCK_ROWS as usize;
/// Columns that a workgroup gathers.
pub const COLUMNS: usize = wgsl::reduce_columns::COLUMNS as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to reduce.
    pub rows: u32,
    /// Columns of x.
    pub cols: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of out in its panel.
    pub out_row: u32,
}

/// The part that one task of the twin reads: [`BLOCK_ROWS`] rows of so many columns, whose sums fit the first-level
/// cache.
const STRIP: usize = 512;

/// `out (+)= reduction of every column` of x `[rows, cols]`; with [`Reduction::MaxAbs`] an accumulating call
/// takes the greater. Sums are f64: of each block of rows, then of the blocks, both in order.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(f: Reduction, x: &[f32], accumulate: bool, out: &mut [f32]) {
    let cols = out.len();
    if cols == 0 {
        return;
    }
    assert_eq!(x.len() % cols, 0, "x is [rows, cols] and out is [1, cols]");
    let rows = x.len() / cols;
    let (blocks, strips) = (rows.div_ceil(BLOCK_ROWS), cols.div_ceil(STRIP));
    let mut partial = vec![0.0f64; blocks * cols];
    let parts = Disjoint::new(&mut partial);
    (0..blocks * strips).into_par_iter().for_each(|task| {
        let (block, first) = (task / strips, task % strips * STRIP);
        let width = STRIP.min(cols - first);
        // SAFETY: this strip of this block, which is this task's alone.
        let part = unsafe { parts.slice(block * cols + first, width) };
        let rows = &x[block * BLOCK_ROWS * cols..rows.min((block + 1) * BLOCK_ROWS) * cols];
        match f {
            Reduction::Sum => sum_plain(rows, cols, first, part),
            Reduction::SumAbs => sum_abs(rows, cols, first, part),
            Reduction::SumSquares => sum_squares(rows, cols, first, part),
            Reduction::MaxAbs => max_abs(rows, cols, first, part),
        }
    });
    let mut total: Vec<f64> = match accumulate {
        true => out.iter().map(|x| f64::from(*x)).collect(),
        false => vec![0.0; cols],
    };
    for part in partial.chunks_exact(cols) {
        for (total, part) in total.iter_mut().zip(part) {
            *total = match f {
                Reduction::MaxAbs => f64::from(greater(*total as f32, *part as f32)),
                _ => *total + part,
            };
        }
    }
    for (out, total) in out.iter_mut().zip(total) {
        *out = total as f32;
    }
}

/// Defines a function that adds up a strip of columns over rows that are `cols` elements long.
macro_rules! strips {
    ($name:ident, |$sum:ident, $x:ident| $step:expr) => {
        multiversion! {
            fn $name(rows: &[f32], cols: usize, first: usize, sums: &mut [f64]) {
                for row in rows.chunks_exact(cols) {
                    for (sum, x) in sums.iter_mut().zip(&row[first..]) {
                        let ($sum, $x) = (*sum, f64::from(*x));
                        *sum = $step;
                    }
                }
            }
        }
    };
}

strips!(sum_plain, |sum, x| sum + x);
strips!(sum_abs, |sum, x| sum + x.abs());
strips!(sum_squares, |sum, x| sum + x * x);
// A NaN on either side stays: the comparison is false for it, and `x` is then taken if it is NaN itself.
strips!(max_abs, |sum, x| if sum >= x.abs() || sum.is_nan() { sum } else { x.abs() });
