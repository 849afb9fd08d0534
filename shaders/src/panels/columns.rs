//! Columns of a matrix as rows, for products whose left operand is transposed.

use super::{COLS, Rows};
use crate::Floats;
use rayon::prelude::*;
use std::cell::Cell;

thread_local! {
    /// Memory of transposed columns, kept for the next product.
    static TRANSPOSED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Runs `f` with the first columns of so many rows, which start `stride` elements apart: column `c` is in `depth` elements from
/// `c · depth` on. All threads transpose.
///
/// # Panics
/// The matrix does not have these rows and columns, or the processor no AVX-512.
pub(crate) fn with_columns<R>(
    x: &[f32],
    stride: usize,
    (depth, cols): (usize, usize),
    f: impl FnOnce(&[f32]) -> R,
) -> R {
    assert!(is_x86_feature_detected!("avx512f"), "a processor with AVX-512");
    let mut transposed = TRANSPOSED.take();
    if transposed.len() < cols * depth {
        transposed = vec![0.0; cols * depth];
    }
    let columns = &mut transposed[..cols * depth];
    columns.par_chunks_mut(COLS * depth.max(1)).enumerate().for_each(|(stripe, to)| {
        let rows = Rows::new(Floats::F32(&x[stripe * COLS..]), stride);
        // SAFETY: the processor has AVX-512, as asserted, and the stripe so many columns.
        unsafe { rows.transpose((depth, to.len() / depth), to.as_mut_ptr().cast(), depth, true) };
    });
    let result = f(columns);
    TRANSPOSED.set(transposed);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        for (depth, cols, stride) in [(1, 1, 1), (5, 70, 75), (40, 64, 64), (3, 200, 211), (0, 7, 7)] {
            let x: Vec<f32> = (0..depth * stride).map(|at| at as f32).collect();
            with_columns(&x, stride, (depth, cols), |columns| {
                assert_eq!(columns.len(), depth * cols);
                for (at, found) in columns.iter().enumerate() {
                    assert_eq!(*found, x[at % depth * stride + at / depth], "{depth} {cols}: {at}");
                }
            });
        }
    }
}
