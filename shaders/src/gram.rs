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
    //! Every column of x is in a panel of rows of the product and in one of its columns. Panels need no transposition: a token's
    //! features lie side by side already.

    use crate::{
        panels::{COLS, DEPTH, ROWS, TILE_COLS, Words, multiply},
        parallel::{Disjoint, Tile, with_scratch},
    };
    use rayon::prelude::*;
    use std::cell::Cell;

    /// Rows of the tile that one task computes: a multiple of panels.
    const TILE_ROWS: usize = 84 * ROWS;

    thread_local! {
        /// Packed columns' memory, kept for the next batch.
        static PACKED: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
    }

    pub(super) fn lower(x: &[f32], cols: usize, gram: &mut [f32]) {
        let (row_panels, tiles) = (cols.div_ceil(ROWS), tiles(cols));
        let mut packed = PACKED.take();
        for x in x.chunks(DEPTH * cols) {
            let depth = x.len() / cols;
            let needed = row_panels * ROWS * depth;
            if packed.len() < needed {
                packed = vec![0; needed];
            }
            let panels = packed[..needed].par_chunks_exact_mut(ROWS * depth);
            panels.enumerate().for_each(|(panel, to)| pack::<ROWS>(x, cols, panel * ROWS, to));
            let (rows, out) = (&packed[..needed], Disjoint::new(gram));
            tiles.par_iter().with_max_len(1).for_each(|&(row, col)| {
                let size = (TILE_ROWS.min(cols - row), TILE_COLS.min(cols - col));
                with_scratch(size.1.div_ceil(COLS) * COLS * depth, |columns| {
                    let columns: &mut [u32] = bytemuck::cast_slice_mut(columns);
                    for (panel, to) in columns.chunks_exact_mut(COLS * depth).enumerate() {
                        pack::<COLS>(x, cols, col + panel * COLS, to);
                    }
                    let tile = Tile { start: out.at(row * cols + col), stride: cols };
                    let below = row as isize - col as isize;
                    // SAFETY: the processor has AVX-512; rows and columns were cut to gram's, and the tile is this task's alone.
                    unsafe {
                        multiply(
                            Words::F32,
                            depth,
                            &rows[row * depth..],
                            columns,
                            true,
                            size,
                            Some(below),
                            tile,
                        )
                    };
                });
            });
        }
        PACKED.set(packed);
    }

    /// The first row and column of every tile that has something of the lower half, by columns.
    fn tiles(cols: usize) -> Vec<(usize, usize)> {
        let below = |col: usize| {
            let first = col / ROWS * ROWS;
            (first..cols).step_by(TILE_ROWS).map(move |row| (row, col))
        };
        (0..cols).step_by(TILE_COLS).flat_map(below).collect()
    }

    /// Packs up to `WIDTH` columns from `first` on: those of token `k` go to `k · WIDTH`. Zeros fill the panel up.
    fn pack<const WIDTH: usize>(x: &[f32], cols: usize, first: usize, panel: &mut [u32]) {
        let count = WIDTH.min(cols.saturating_sub(first));
        for (token, to) in x.chunks_exact(cols).zip(panel.as_chunks_mut::<WIDTH>().0) {
            let from: &[u32] = bytemuck::cast_slice(&token[first.min(cols)..][..count]);
            match from.first_chunk::<WIDTH>() {
                Some(whole) => *to = *whole,
                None => {
                    to[..count].copy_from_slice(from);
                    to[count..].fill(0);
                }
            }
        }
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
