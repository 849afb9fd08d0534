//! `gram += xᵀx`, of which half is computed.

use rayon::prelude::*;

use crate::{
    parallel::Disjoint,
    product::{Operand, product},
    transpose,
};

/// The tile of the lower half that one task computes.
const TILE: (usize, usize) = (256, 128);

/// `gram += xᵀx` for x `[tokens, cols]` and gram `[cols, cols]`, symmetric. The lower half is computed, in an
/// order that does not depend on the number of threads, and mirrored.
///
/// # Panics
/// The slices are not of these sizes.
pub fn cpu(x: &[f32], cols: usize, gram: &mut [f32]) {
    if cols == 0 {
        return;
    }
    assert_eq!(gram.len(), cols * cols, "gram is [cols, cols]");
    let tokens = x.len() / cols;
    assert_eq!(x.len(), tokens * cols, "x is [tokens, cols]");
    let tiles: Vec<_> = (0..cols)
        .step_by(TILE.0)
        .flat_map(|row| (0..(row + TILE.0).min(cols)).step_by(TILE.1).map(move |col| (row, col)))
        .collect();
    let out = Disjoint::new(gram);
    tiles.into_par_iter().with_max_len(1).for_each(|(row, col)| {
        let size = (TILE.0.min(cols - row), TILE.1.min(cols - col), tokens);
        let (a, b) =
            (Operand::rows(&x[row.min(x.len())..], cols).t(), Operand::rows(&x[col.min(x.len())..], cols));
        // SAFETY: rows and columns were cut to x's; this tile of gram is this task's alone.
        unsafe { product(size, 1.0, a, b, 1.0, out.at(row * cols + col), cols) };
    });
    transpose::mirror_lower(gram, cols);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_whole_matrix_is_filled() {
        for (tokens, cols) in [(1, 1), (7, 3), (5, 300), (64, 129), (0, 4)] {
            let x: Vec<f32> = (0..tokens * cols).map(|i| ((i * 31) % 17) as f32 / 5.0 - 1.0).collect();
            let mut gram = vec![0.0; cols * cols];
            super::cpu(&x, cols, &mut gram);
            super::cpu(&x, cols, &mut gram);
            for i in 0..cols {
                for j in 0..cols {
                    let sum: f64 =
                        (0..tokens).map(|t| f64::from(x[t * cols + i]) * f64::from(x[t * cols + j])).sum();
                    assert!(
                        (f64::from(gram[i * cols + j]) - 2.0 * sum).abs() < 1e-3,
                        "{tokens} {cols} {i} {j}"
                    );
                    assert_eq!(gram[i * cols + j], gram[j * cols + i]);
                }
            }
        }
    }
}
