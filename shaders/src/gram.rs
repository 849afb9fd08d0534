//! `gram += xᵀx`, of which half is computed.

use rayon::prelude::*;

use crate::{
    parallel::Disjoint,
    product::{Operand, product},
    transpose,
};

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
    assert_eq!(x.len() % cols, 0, "x is [tokens, cols]");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        avx512::lower(x, cols, gram);
        return transpose::mirror_lower(gram, cols);
    }
    lower(x, cols, gram);
    transpose::mirror_lower(gram, cols);
}

/// The lower half, on any processor.
fn lower(x: &[f32], cols: usize, gram: &mut [f32]) {
    /// The tile that one task computes.
    const TILE: (usize, usize) = (256, 128);
    let tokens = x.len() / cols;
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
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    //! Columns of x are the rows of the product, for which they are transposed, and its columns, which lie side by side already.

    use crate::{
        panels::{COLS, DEPTH, Left, ROWS, Right, TILE_COLS, Words, copy, multiply, with_columns},
        parallel::{Disjoint, Tile, with_scratch},
    };
    use rayon::prelude::*;

    /// Rows of the tile that one task computes.
    const TILE_ROWS: usize = 168 * ROWS;

    pub(super) fn lower(x: &[f32], cols: usize, gram: &mut [f32]) {
        let tiles = tiles(cols);
        for x in x.chunks(DEPTH * cols) {
            let depth = x.len() / cols;
            let words: &[u32] = bytemuck::cast_slice(x);
            let out = Disjoint::new(gram);
            let multiply_tile = |rows: &[f32], row: usize, col: usize| {
                let size = (TILE_ROWS.min(cols - row), TILE_COLS.min(cols - col));
                with_scratch(size.1.div_ceil(COLS) * COLS * depth, |panels| {
                    let panels: &mut [u32] = bytemuck::cast_slice_mut(panels);
                    for (place, panel) in panels.chunks_exact_mut(COLS * depth).enumerate() {
                        let first = col + place * COLS;
                        copy(&words[first..], cols, COLS.min(cols - first), panel);
                    }
                    let tile = Tile { start: out.at(row * cols + col), stride: cols };
                    let left = Left { start: rows[row * depth..].as_ptr().cast(), stride: depth };
                    let right = Right { start: panels.as_ptr(), stride: COLS };
                    let below = row as isize - col as isize;
                    // SAFETY: the processor has AVX-512; rows and columns were cut to gram's, and the tile is this task's alone.
                    unsafe { multiply(Words::F32, depth, (1.0, 1.0), left, right, size, Some(below), tile) };
                });
            };
            with_columns(x, cols, (depth, cols), |rows| {
                tiles.par_iter().with_max_len(1).for_each(|&(row, col)| multiply_tile(rows, row, col));
            });
        }
    }

    /// The first row and column of every tile that has something of the lower half, by columns.
    fn tiles(cols: usize) -> Vec<(usize, usize)> {
        let below = |col: usize| (col..cols).step_by(TILE_ROWS).map(move |row| (row, col));
        (0..cols).step_by(TILE_COLS).flat_map(below).collect()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_whole_matrix_is_filled() {
        for (tokens, cols) in [(1, 1), (7, 3), (5, 300), (64, 129), (0, 4), (770, 31), (3, 1100)] {
            let x: Vec<f32> = (0..tokens * cols).map(|i| ((i * 31) % 17) as f32 / 5.0 - 1.0).collect();
            for any_processor in [false, true] {
                let mut gram = vec![0.0; cols * cols];
                for _ in 0..2 {
                    if any_processor {
                        super::lower(&x, cols, &mut gram);
                        crate::transpose::mirror_lower(&mut gram, cols);
                    } else {
                        super::cpu(&x, cols, &mut gram);
                    }
                }
                for i in 0..cols {
                    for j in (0..cols).step_by(1 + cols / 300) {
                        let sum: f64 = (0..tokens)
                            .map(|t| f64::from(x[t * cols + i]) * f64::from(x[t * cols + j]))
                            .sum();
                        assert!(
                            (f64::from(gram[i * cols + j]) - 2.0 * sum).abs() < 1e-3 * sum.abs().max(1.0),
                            "{tokens} {cols} {i} {j}"
                        );
                        assert_eq!(gram[i * cols + j], gram[j * cols + i]);
                    }
                }
            }
        }
    }
}
