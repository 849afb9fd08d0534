//! `L Lᵀ = x`: the Cholesky factor, blocked.

use rayon::prelude::*;

use crate::{
    parallel::Disjoint,
    product::{Operand, product},
    triangle,
};

/// Columns that are factored together; their diagonal block is factored in double precision.
const BLOCK: usize = 128;

/// The tile of the rest that one task updates.
const TILE: (usize, usize) = (256, 128);

/// Why a matrix has no Cholesky factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NotPositiveDefinite {
    /// The row and column.
    pub pivot: usize,
    /// The pivot's value.
    pub value: f32,
}

/// The lower triangular `L` with `L Lᵀ = x`, in place, for x `[side, side]`: reads the lower half and clears
/// the upper. Right-looking: factor a block of columns, then take it out of everything to its right.
///
/// # Errors
/// The first pivot that is not positive.
///
/// # Panics
/// x is not square.
pub fn cpu(x: &mut [f32], side: usize) -> Result<(), NotPositiveDefinite> {
    assert_eq!(x.len(), side * side, "x is square");
    for first in (0..side).step_by(BLOCK) {
        let width = BLOCK.min(side - first);
        let mut block = triangle::load(x, side, first, width);
        triangle::cholesky(&mut block, width)
            .map_err(|(pivot, value)| NotPositiveDefinite { pivot: first + pivot, value: value as f32 })?;
        for i in 0..width {
            for j in 0..=i {
                x[(first + i) * side + first + j] = block[i * width + j] as f32;
            }
        }
        let below = first + width;
        if below < side {
            let inverse = triangle::narrow(&triangle::inverse(&block, width));
            solve_below(x, side, first, &inverse, width);
            update(x, side, first, width);
        }
    }
    clear_upper(x, side);
    Ok(())
}

/// The rows below a factored block: `L₂₁ = x₂₁ · L₁₁⁻ᵀ`.
fn solve_below(x: &mut [f32], side: usize, first: usize, inverse: &[f32], width: usize) {
    let rows = &mut x[(first + width) * side..];
    rows.par_chunks_mut(TILE.0 * side).with_max_len(1).for_each(|rows| {
        let count = rows.len() / side;
        let old: Vec<f32> =
            rows.chunks_exact(side).flat_map(|row| row[first..first + width].iter().copied()).collect();
        let size = (count, width, width);
        let out = rows[first..].as_mut_ptr();
        // SAFETY: `count` rows of `width` columns from column `first` are inside this task's rows.
        unsafe {
            product(size, 1.0, Operand::rows(&old, width), Operand::rows(inverse, width).t(), 0.0, out, side);
        }
    });
}

/// The update to the right of a factored block of columns: `x₂₂ −= L₂₁ · L₂₁ᵀ`, the lower half.
fn update(x: &mut [f32], side: usize, first: usize, width: usize) {
    let below = first + width;
    // Apart from what is written to, so that tasks may read it.
    let panel: Vec<f32> =
        x[below * side..].chunks_exact(side).flat_map(|row| row[first..below].iter().copied()).collect();
    let rest = side - below;
    let tiles: Vec<_> = (0..rest)
        .step_by(TILE.0)
        .flat_map(|row| (0..(row + TILE.0).min(rest)).step_by(TILE.1).map(move |col| (row, col)))
        .collect();
    let out = Disjoint::new(x);
    tiles.into_par_iter().with_max_len(1).for_each(|(row, col)| {
        let size = (TILE.0.min(rest - row), TILE.1.min(rest - col), width);
        let a = Operand::rows(&panel[row * width..], width);
        let b = Operand::rows(&panel[col * width..], width).t();
        let to = out.at((below + row) * side + below + col);
        // SAFETY: the tile is inside the matrix and this task's alone.
        unsafe { product(size, -1.0, a, b, 1.0, to, side) };
    });
}

fn clear_upper(x: &mut [f32], side: usize) {
    if side > 0 {
        x.par_chunks_exact_mut(side).enumerate().for_each(|(row, line)| line[row + 1..].fill(0.0));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `x xᵀ / side + shift · I` of a fixed x: symmetric and positive definite.
    pub(crate) fn positive(side: usize, shift: f32) -> Vec<f32> {
        let value = |i: usize| f64::from(((i * 7919 + i * i * 31) % 1009) as f32) / 504.5 - 1.0;
        let mut x = vec![0.0; side * side];
        for i in 0..side {
            for j in 0..=i {
                let sum: f64 = (0..side).map(|k| value(i * side + k) * value(j * side + k)).sum();
                let entry = (sum / side as f64) as f32 + if i == j { shift } else { 0.0 };
                x[i * side + j] = entry;
                x[j * side + i] = entry;
            }
        }
        x
    }

    #[test]
    fn the_factor_times_its_transpose_is_the_matrix() {
        for side in [1, 2, 17, 128, 129, 300] {
            let x = positive(side, 0.1);
            let mut l = x.clone();
            // The upper half is not read.
            for i in 0..side {
                l[i * side + i + 1..(i + 1) * side].fill(f32::NAN);
            }
            cpu(&mut l, side).unwrap();
            for i in 0..side {
                assert!(l[i * side + i + 1..(i + 1) * side].iter().all(|&x| x == 0.0));
                for j in 0..=i {
                    let sum: f64 =
                        (0..=j).map(|k| f64::from(l[i * side + k]) * f64::from(l[j * side + k])).sum();
                    assert!((sum - f64::from(x[i * side + j])).abs() < 1e-5, "{side}: {i} {j}");
                }
            }
        }
    }

    #[test]
    fn the_pivot_that_fails_is_named() {
        let mut x = positive(200, 0.1);
        x[150 * 200 + 150] = -1.0;
        let error = cpu(&mut x, 200).unwrap_err();
        assert_eq!(error.pivot, 150);
        assert!(error.value < 0.0);
        assert_eq!(cpu(&mut [f32::NAN], 1).unwrap_err().pivot, 0);
    }
}
