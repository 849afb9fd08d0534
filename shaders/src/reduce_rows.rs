//! Every row gathered into one number.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel, Reduction,
    simd::{LANES, multiversion, pairwise},
    wgsl,
};

/// Bindings: x f32, out f32 (one column). A workgroup for every row.
///
/// Constants: `F`, the [`Reduction`]'s number; `ACCUMULATE`, whether to add to what `out` holds.
pub const KERNEL: Kernel = wgsl::reduce_rows::KERNEL.with::<Params>();

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

/// `out (+)= reduction of every row` of `cols` elements; with [`Reduction::MaxAbs`] an accumulating call
/// takes the greater. Sums are f64, in a fixed order.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(f: Reduction, x: &[f32], cols: usize, accumulate: bool, out: &mut [f32]) {
    assert_eq!(x.len(), out.len() * cols, "x is [rows, cols] and out is [rows, 1]");
    let rows_in_task = (16 * 1024 / cols.max(1)).max(1);
    out.par_iter_mut().with_min_len(rows_in_task).enumerate().for_each(|(row, out)| {
        let x = &x[row * cols..(row + 1) * cols];
        if f == Reduction::MaxAbs {
            let old = if accumulate { *out } else { 0.0 };
            *out = greater(old, max_abs(x));
        } else {
            let old = if accumulate { f64::from(*out) } else { 0.0 };
            *out = (old + sum(f, x)) as f32;
        }
    });
}

/// The greater absolute value; NaN counts as greater than all.
pub(crate) fn greater(a: f32, b: f32) -> f32 {
    // As bits, absolute values compare as numbers do, with NaN above infinity.
    f32::from_bits((a.to_bits() & 0x7fff_ffff).max(b.to_bits() & 0x7fff_ffff))
}

fn sum(f: Reduction, x: &[f32]) -> f64 {
    match f {
        Reduction::Sum => sum_plain(x),
        Reduction::SumAbs => sum_abs(x),
        Reduction::SumSquares => sum_squares(x),
        Reduction::MaxAbs => f64::from(max_abs(x)),
    }
}

/// Defines a sum of a function of the elements in [`LANES`] · 2 partial sums.
macro_rules! sums {
    ($(#[$meta:meta])* $vis:vis $name:ident, |$x:ident| $term:expr) => {
        multiversion! {
            $(#[$meta])*
            $vis fn $name(x: &[f32]) -> f64 {
                let mut lanes = [[0.0f64; LANES]; 2];
                let (blocks, rest) = x.as_chunks::<{ 2 * LANES }>();
                for block in blocks {
                    for part in 0..2 {
                        for lane in 0..LANES {
                            let $x = f64::from(block[part * LANES + lane]);
                            lanes[part][lane] += $term;
                        }
                    }
                }
                for (i, x) in rest.iter().enumerate() {
                    let $x = f64::from(*x);
                    lanes[i / LANES][i % LANES] += $term;
                }
                let [mut first, second] = lanes;
                for (a, b) in first.iter_mut().zip(second) {
                    *a += b;
                }
                pairwise(&mut first)
            }
        }
    };
}

sums!(sum_plain, |x| x);
sums!(sum_abs, |x| x.abs());
sums!(
    /// `Σ x²`
    pub(crate) sum_squares, |x| x * x
);

multiversion! {
    fn max_abs(x: &[f32]) -> f32 {
        f32::from_bits(x.iter().fold(0, |max: u32, x| max.max(x.to_bits() & 0x7fff_ffff)))
    }
}
