//! `L⁻¹ b` and `L⁻ᵀ b` of a lower triangular matrix, blocked.

use crate::{
    matmul::{self, Rectangle},
    triangle,
};

/// Rows that are solved together.
const BLOCK: usize = 128;

/// `b = L⁻¹ b`, or `L⁻ᵀ b` if `transposed`, in place: l `[side, side]` lower triangular, b `[side, cols]`.
/// Substitution by blocks of rows, from the top, or from the bottom for the transpose.
///
/// # Panics
/// The slices are not of these sizes.
pub fn cpu(l: &[f32], side: usize, transposed: bool, b: &mut [f32], cols: usize) {
    assert_eq!(l.len(), side * side, "l is square");
    assert_eq!(b.len(), side * cols, "b is [side, cols]");
    let mut starts: Vec<usize> = (0..side).step_by(BLOCK).collect();
    if transposed {
        starts.reverse();
    }
    for first in starts {
        let width = BLOCK.min(side - first);
        // What is solved already: rows above, or rows below for the transpose.
        let done = if transposed { first + width..side } else { 0..first };
        let factors = Rectangle {
            matrix: l,
            stride: side,
            from: if transposed { (done.start, first) } else { (first, done.start) },
            size: if transposed { (done.len(), width) } else { (width, done.len()) },
            transposed,
        };
        let solved = b[done.start * cols..done.end * cols].to_vec();
        matmul::cpu(-1.0, factors, Rectangle::all(&solved, cols), 1.0, b, cols, (first, 0));
        let inverse = triangle::narrow(&triangle::inverse(&triangle::load(l, side, first, width), width));
        let rest = b[first * cols..(first + width) * cols].to_vec();
        let inverse = Rectangle { transposed, ..Rectangle::all(&inverse, width) };
        matmul::cpu(1.0, inverse, Rectangle::all(&rest, cols), 0.0, b, cols, (first, 0));
    }
}

#[cfg(test)]
mod tests {
    use crate::cholesky::{self, tests::positive};

    #[test]
    fn the_matrix_times_the_solution_is_the_right_side() {
        for (side, cols) in [(1, 1), (130, 3), (300, 40)] {
            let mut l = positive(side, 0.2);
            cholesky::cpu(&mut l, side).unwrap();
            let b: Vec<f32> = (0..side * cols).map(|i| ((i * 13) % 29) as f32 / 9.0 - 1.5).collect();
            for transposed in [false, true] {
                let mut x = b.clone();
                super::cpu(&l, side, transposed, &mut x, cols);
                for i in 0..side {
                    for j in 0..cols {
                        let entry = |k: usize| if transposed { l[k * side + i] } else { l[i * side + k] };
                        let sum: f64 =
                            (0..side).map(|k| f64::from(entry(k)) * f64::from(x[k * cols + j])).sum();
                        assert!(
                            (sum - f64::from(b[i * cols + j])).abs() < 1e-3,
                            "{side} {transposed}: {i} {j}"
                        );
                    }
                }
            }
        }
    }
}
