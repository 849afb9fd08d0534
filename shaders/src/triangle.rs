//! Small triangular matrices in double precision: the diagonal blocks of the blocked algorithms.

use bytemuck::{Pod, Zeroable};

use crate::{Kernel, wgsl};

/// Bindings: x f32, inverse f32 `[SIDE, SIDE]`, status u32 (three words: whether a pivot was not positive, its row,
/// the bits of what was left of it). A workgroup for every block.
///
/// Constants: `INVERT`, whether to invert in place instead of factoring; `inverse` and `status` are then not
/// touched.
pub const KERNEL: Kernel = wgsl::triangle::KERNEL.with::<Params>();

/// Rows and columns of a block.
pub const SIDE: usize = wgsl::triangle::SIDE as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of all blocks; every block but the last has [`SIDE`].
    pub rows: u32,
    /// Where the first block starts in its panel.
    pub start: u32,
    /// Columns of x.
    pub stride: u32,
    /// From the start of one block to that of the next.
    pub step: u32,
    /// The first block's first row in the whole matrix.
    pub first: u32,
}

/// The Cholesky factor of a small symmetric matrix `[side, side]`, lower, in place; reads the lower half.
///
/// # Errors
/// The first pivot that is not positive, and its value.
pub(crate) fn cholesky(x: &mut [f64], side: usize) -> Result<(), (usize, f64)> {
    for j in 0..side {
        for i in j..side {
            let (upper, lower) = x.split_at(i * side);
            let row_j = if i == j { &lower[..j] } else { &upper[j * side..j * side + j] };
            let sum: f64 = lower[..j].iter().zip(row_j).map(|(a, b)| a * b).sum();
            let rest = x[i * side + j] - sum;
            if i == j {
                if rest.is_nan() || rest <= 0.0 || rest.is_infinite() {
                    return Err((j, rest));
                }
                x[j * side + j] = rest.sqrt();
            } else {
                x[i * side + j] = rest / x[j * side + j];
            }
        }
    }
    Ok(())
}

/// The inverse of a small lower triangular matrix; the upper half is 0.
pub(crate) fn inverse(l: &[f64], side: usize) -> Vec<f64> {
    let mut out = vec![0.0; side * side];
    for i in 0..side {
        let pivot = 1.0 / l[i * side + i];
        let (done, rest) = out.split_at_mut(i * side);
        let row = &mut rest[..side];
        for k in 0..i {
            let factor = l[i * side + k];
            for (x, done) in row[..=k].iter_mut().zip(&done[k * side..]) {
                *x -= factor * done;
            }
        }
        row[..i].iter_mut().for_each(|x| *x *= pivot);
        row[i] = pivot;
    }
    out
}

/// A square block on the diagonal of a matrix whose rows are `stride` apart, in double precision.
pub(crate) fn load(x: &[f32], stride: usize, first: usize, side: usize) -> Vec<f64> {
    let row = |i: usize| &x[(first + i) * stride + first..][..side];
    (0..side).flat_map(|i| row(i).iter().copied().map(f64::from)).collect()
}

/// Single precision again.
pub(crate) fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}
