//! `L⁻¹` of a lower triangular matrix, blocked.

use rayon::prelude::*;

use crate::{
    parallel::Disjoint,
    product::{Operand, product},
    triangle,
};

/// Rows that are inverted together; their diagonal block is inverted in double precision.
const BLOCK: usize = 128;

/// Columns of a block row that one task computes.
const TILE: usize = 256;

/// `l = L⁻¹` for a lower triangular l `[side, side]`, in place; its upper half becomes 0. Block row by block row:
/// `X_i = −L_ii⁻¹ · (L_i,<i · X_<i)`.
///
/// # Panics
/// l is not square.
pub fn cpu(l: &mut [f32], side: usize) {
    assert_eq!(l.len(), side * side, "l is square");
    for first in (0..side).step_by(BLOCK) {
        let width = BLOCK.min(side - first);
        let inverse = triangle::narrow(&triangle::inverse(&triangle::load(l, side, first, width), width));
        let (above, rows) = l.split_at_mut(first * side);
        let rows = &mut rows[..width * side];
        // Apart from what is written to, so that tasks may read it.
        let factors: Vec<f32> = rows.chunks_exact(side).flat_map(|row| &row[..first]).copied().collect();
        for (i, row) in rows.chunks_exact_mut(side).enumerate() {
            row[first..first + width].copy_from_slice(&inverse[i * width..(i + 1) * width]);
            row[first + width..].fill(0.0);
        }
        let rows = Disjoint::new(rows);
        (0..first.div_ceil(TILE)).into_par_iter().with_max_len(1).for_each(|tile| {
            let col = tile * TILE;
            let count = TILE.min(first - col);
            // X is 0 above its diagonal, so only rows from `col` on count.
            let left = Operand::rows(&factors[col..], first);
            let right = Operand::rows(&above[col * side + col..], side);
            let mut sum = vec![0.0; width * count];
            // SAFETY: columns `col..first` of the factors and rows `col..first`, columns `col..col + count` of what is
            // done are inside their matrices; `sum` is this task's own.
            unsafe { product((width, count, first - col), 1.0, left, right, 0.0, sum.as_mut_ptr(), count) };
            let to = rows.at(col);
            let (a, b) = (Operand::rows(&inverse, width), Operand::rows(&sum, count));
            // SAFETY: these columns of the block row are this task's alone.
            unsafe { product((width, count, width), -1.0, a, b, 0.0, to, side) };
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::cholesky::{self, tests::positive};

    #[test]
    fn the_inverse_times_the_matrix_is_the_identity() {
        for side in [1, 5, 128, 131, 400] {
            let mut l = positive(side, 0.2);
            cholesky::cpu(&mut l, side).unwrap();
            let mut inverse = l.clone();
            super::cpu(&mut inverse, side);
            for i in 0..side {
                for j in 0..side {
                    let sum: f64 = (0..side)
                        .map(|k| f64::from(l[i * side + k]) * f64::from(inverse[k * side + j]))
                        .sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((sum - expected).abs() < 1e-4, "{side}: {i} {j} {sum}");
                }
            }
        }
    }
}
