//! `y = x / √(mean(x²) + eps) · weight`, row by row (Zhang & Sennrich, 1910.07467).

use rayon::prelude::*;

use crate::{Floats, reduce_rows::sum_squares, simd::multiversion};

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
        let mean = sum_squares(x) / cols as f64;
        let factor = (1.0 / (mean + f64::from(eps)).sqrt()) as f32;
        scale(x, factor, &weight, y);
    });
}

multiversion! {
    fn scale(x: &[f32], factor: f32, weight: &[f32], y: &mut [f32]) {
        for ((x, weight), y) in x.iter().zip(weight).zip(y) {
            *y = x * factor * weight;
        }
    }
}
