//! `y = x / √(mean(x²) + eps) · weight`, row by row (Zhang & Sennrich, 1910.07467).

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Floats, Kernel, reduce_rows::sum_squares, simd::multiversion, wgsl};

/// Bindings: x f32, weight (`WEIGHT_DTYPE`), y f32. A workgroup for every row.
///
/// Constants: `WEIGHT_DTYPE` 0 f32, 1 f16, 2 bf16.
pub const KERNEL: Kernel = wgsl::rms_norm::KERNEL.with::<Params>();

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to compute.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of y in its panel.
    pub y_row: u32,
    /// The epsilon that is added to the mean of squares.
    pub eps: f32,
}

/// A norm of rows, `x / √(mean(x²) + eps) · weight`.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// A number for every column.
    pub weight: Floats<'a>,
    /// The epsilon that is added to the mean of squares.
    pub eps: f32,
}

/// `y = x / √(mean(x²) + eps) · weight` for every row of `cols` elements.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(x: &[f32], weight: Floats<'_>, eps: f32, cols: usize, y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "x and y are of the same shape");
    assert_eq!(weight.len(), cols, "weight is [cols]");
    if cols == 0 {
        return;
    }
    let weight = weight.to_vec();
    x.par_chunks_exact(cols).zip(y.par_chunks_exact_mut(cols)).with_min_len(8).for_each(|(x, y)| {
        scale(x, factor(x, eps), &weight, y);
    });
}

/// The factor of a row.
pub(crate) fn factor(x: &[f32], eps: f32) -> f32 {
    let mean = sum_squares(x) / x.len() as f64;
    (1.0 / (mean + f64::from(eps)).sqrt()) as f32
}

multiversion! {
    /// `y = x · factor · weight`
    pub(crate) fn scale(x: &[f32], factor: f32, weight: &[f32], y: &mut [f32]) {
        for ((x, weight), y) in x.iter().zip(weight).zip(y) {
            *y = x * factor * weight;
        }
    }
}
