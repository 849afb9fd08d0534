//! `y = x · wᵀ` on processors with AVX-512, in [panels](crate::panels): tokens are the rows, and outputs the columns. Tokens are
//! read where they lie; normalised or rounded ones are written down once for all tasks. Every task packs its own weights, which
//! are widened and rounded meanwhile.

use std::cell::Cell;

use rayon::prelude::*;

use super::{Product, Products, Rows};
use crate::{
    Compute, Floats, FloatsMut,
    panels::{
        COLS, DEPTH, Left, ROWS, Right, Rows as PanelRows, TILE_COLS, Words, multiply as multiply_panels,
        pack_filled,
    },
    parallel::with_scratch,
    rms_norm,
};

/// The most tokens of a tile, for each of which the weights are packed.
const TILE_TOKENS: usize = 336 * ROWS;

/// The fewest tokens of a tile where there are more: packing the weights costs as much as some thirty tokens' products.
const LEAST_TOKENS: usize = 28 * ROWS;

/// Tiles for every thread, so that none waits long for the others.
const TILES_A_THREAD: usize = 4;

thread_local! {
    /// The memory of normalised or rounded tokens, kept for the next product.
    static PREPARED: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

impl Words {
    /// The words for products in this type, if this processor has the instructions.
    pub(super) fn of(compute: Compute) -> Option<Self> {
        match compute {
            _ if !is_x86_feature_detected!("avx512f") => None,
            Compute::BF16 if crate::compute::multiplies_bf16() => Some(Self::BF16),
            _ => Some(Self::F32),
        }
    }

    fn inputs(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::BF16 => 2,
        }
    }

    /// Rounds elements to the type to compute in and puts them into words, one after the other, and zeros behind them.
    fn fill(self, compute: Compute, from: Floats<'_>, words: &mut [u32]) {
        words[from.len() / self.inputs()..].fill(0);
        match self {
            Self::F32 => {
                let out = &mut bytemuck::cast_slice_mut(words)[..from.len()];
                from.widen(out);
                compute.round(out);
            }
            Self::BF16 => {
                let out = &mut bytemuck::cast_slice_mut(words)[..from.len()];
                match from {
                    Floats::F32(from) => FloatsMut::BF16(out).narrow(from),
                    Floats::BF16(from) => out.copy_from_slice(from),
                    from @ Floats::F16(_) => FloatsMut::BF16(out).narrow(&from.to_vec()),
                }
            }
        }
    }
}

/// As [`cpu`](super::cpu), on a processor that has the instructions for these words. The order of the sums depends on the
/// words and the number of inputs alone.
pub(super) fn multiply(words: Words, rows: &Rows, tokens: usize, layers: &mut [Products]) {
    assert!(Words::of(rows.compute) == Some(words), "a processor with AVX-512");
    let mut prepared = PREPARED.take();
    // Enough tiles for all threads where the widest layer has too few of them side by side.
    let across = layers.iter().map(|layer| layer.outputs.div_ceil(TILE_COLS)).max().unwrap_or(1);
    let along = (TILES_A_THREAD * rayon::current_num_threads()).div_ceil(across);
    let parts = tokens.div_ceil(TILE_TOKENS * along);
    let most = tokens.div_ceil(parts).next_multiple_of(ROWS);
    for first in (0..tokens).step_by(most) {
        let end = tokens.min(first + most);
        let x = rows.words(words, first..end, &mut prepared);
        // Tiles of one size, so that none is small and has all its weights to pack.
        let tiles = along.min((end - first).div_ceil(LEAST_TOKENS)).max((end - first).div_ceil(TILE_TOKENS));
        let tile = (end - first).div_ceil(tiles).next_multiple_of(ROWS);
        for layer in &mut *layers {
            layer.each(first..end, |product, y| product.multiply(words, x, (end - first, tile), y));
        }
    }
    PREPARED.set(prepared);
}

impl Rows<'_> {
    /// These rows in words: as they are, or in `prepared` if anything is done to them.
    fn words<'s>(
        &'s self,
        words: Words,
        rows: std::ops::Range<usize>,
        prepared: &'s mut Vec<u32>,
    ) -> &'s [u32] {
        let inputs = self.inputs;
        let x = &self.x[rows.start * inputs..rows.end * inputs];
        if words == Words::F32 && self.plain() {
            return bytemuck::cast_slice(x);
        }
        let width = inputs.div_ceil(words.inputs());
        let needed = rows.len() * width;
        if prepared.len() < needed {
            *prepared = vec![0; needed];
        }
        let prepared = &mut prepared[..needed];
        prepared.par_chunks_mut(width).zip(x.par_chunks(inputs)).for_each(|(out, x)| match &self.norm {
            Some((weight, eps)) => with_scratch(inputs, |normed| {
                rms_norm::scale(x, rms_norm::factor(x, *eps), weight, normed);
                words.fill(self.compute, Floats::F32(normed), out);
            }),
            None => words.fill(self.compute, Floats::F32(x), out),
        });
        prepared
    }
}

impl Product<'_> {
    /// The product with rows of words, of which so many make a tile.
    fn multiply(&self, words: Words, x: &[u32], (tokens, tile_tokens): (usize, usize), y: &mut [f32]) {
        let width = self.inputs.div_ceil(words.inputs());
        self.each_tile(
            tokens,
            (tile_tokens, TILE_COLS),
            y,
            |(first_token, m), (first_output, n), mut keep, tile| {
                for first in (0..width).step_by(DEPTH) {
                    let depth = DEPTH.min(width - first);
                    with_scratch(n.div_ceil(COLS) * COLS * depth, |panels| {
                        let panels: &mut [u32] = bytemuck::cast_slice_mut(panels);
                        for (place, panel) in panels.chunks_exact_mut(COLS * depth).enumerate() {
                            let outputs = (first_output + place * COLS, COLS.min(n - place * COLS));
                            self.pack(words, outputs, (first, depth), panel);
                        }
                        let x = &x[first_token * width + first..];
                        assert!(x.len() >= (m - 1) * width + depth, "the tile's tokens are x's");
                        let left = Left { start: x.as_ptr(), stride: width };
                        let right = Right { start: panels.as_ptr(), stride: COLS };
                        let beta = if keep { 1.0 } else { 0.0 };
                        // SAFETY: the processor has the instructions; x has these tokens, as asserted, the panels these
                        // outputs, and the tile is this task's alone.
                        unsafe {
                            multiply_panels(words, depth, (1.0, beta), left, right, (m, n), None, tile)
                        };
                    });
                    keep = true;
                }
            },
        );
    }

    /// Packs so many words of some outputs' weights.
    fn pack(
        &self,
        words: Words,
        (output, outputs): (usize, usize),
        (first, depth): (usize, usize),
        panel: &mut [u32],
    ) {
        let (w, inputs) = (self.dense(), self.inputs);
        if words == Words::F32 && self.compute.holds(w) {
            let w = w.slice(output * inputs + first..(output + outputs - 1) * inputs + first + depth);
            // SAFETY: the processor has AVX-512; a panel has all columns of so many words.
            return unsafe {
                PanelRows::new(w, inputs).transpose((outputs, depth), panel.as_mut_ptr(), COLS, false)
            };
        }
        let fill = |row: usize, word: usize, row_words: &mut [u32]| {
            let at = |word: usize| ((first + word) * words.inputs()).min(inputs);
            let start = (output + row) * inputs;
            words.fill(
                self.compute,
                w.slice(start + at(word)..start + at(word + row_words.len())),
                row_words,
            );
        };
        // SAFETY: the processor has AVX-512.
        unsafe { pack_filled(outputs, fill, panel) }
    }
}
