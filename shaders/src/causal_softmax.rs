//! The softmax of `scale · x` over the columns that a causal query sees, in place.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel,
    simd::{exp, multiversion},
    wgsl,
};

/// Bindings: x f32. A workgroup for every row.
pub const KERNEL: Kernel = wgsl::causal_softmax::KERNEL.with::<Params>();

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to compute.
    pub rows: u32,
    /// The first of them in the matrix.
    pub first: u32,
    /// The first of them in its panel.
    pub x_row: u32,
    /// Columns.
    pub cols: u32,
    /// How many columns beyond its own number a row sees: `cols − rows` of the whole matrix.
    pub ahead: u32,
    /// How many columns a row sees at most.
    pub window: u32,
    /// The factor of the scores.
    pub scale: f32,
}

/// The softmax of `scale · x` in place, row by row of `[rows, cols]`: row `r` sees the columns up to `r + cols − rows`, of which
/// only the last `window`. What it does not see becomes 0.
///
/// # Panics
/// There are more rows than columns, or the slice is of another size.
pub fn cpu(x: &mut [f32], (rows, cols): (usize, usize), scale: f32, window: Option<usize>) {
    assert_eq!(x.len(), rows * cols, "x is [rows, cols]");
    assert!(rows <= cols, "every row sees its own column");
    if x.is_empty() {
        return;
    }
    x.par_chunks_exact_mut(cols).with_min_len(4).enumerate().for_each(|(row, x)| {
        let end = row + cols - rows + 1;
        let begin = end - window.unwrap_or(end).min(end);
        x[..begin].fill(0.0);
        x[end..].fill(0.0);
        softmax(&mut x[begin..end], scale);
    });
}

multiversion! {
    fn softmax(x: &mut [f32], scale: f32) {
        let highest = x.iter().fold(f32::NEG_INFINITY, |highest, x| highest.max(scale * x));
        let mut sums = [0.0f32; 16];
        for chunk in x.chunks_mut(16) {
            for (x, sum) in chunk.iter_mut().zip(&mut sums) {
                *x = exp(scale * *x - highest);
                *sum += *x;
            }
        }
        let share = 1.0 / sums.iter().sum::<f32>();
        x.iter_mut().for_each(|x| *x *= share);
    }
}
