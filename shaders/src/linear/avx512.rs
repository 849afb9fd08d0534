//! `y = x · wᵀ` on processors with AVX-512, in packed [panels](crate::panels): tokens are the rows, and outputs the columns.
//! Operands are rounded and widened while they are packed; x is packed once for all tasks, and every task packs its own weights.

use std::cell::Cell;

use rayon::prelude::*;

use super::{Product, Products, Rows};
use crate::{
    Compute, Floats, FloatsMut,
    panels::{CHUNK, COLS, DEPTH, ROWS, TILE_COLS, Words, multiply as multiply_panels, pack},
    parallel::{Disjoint, with_scratch},
    rms_norm,
};

/// The most tokens of a tile, for each of which the weights are packed.
const TILE_TOKENS: usize = 168 * ROWS;

/// The fewest tokens of a tile where there are more: packing the weights costs as much as some thirty tokens' products.
const LEAST_TOKENS: usize = 14 * ROWS;

/// Tiles for every thread, so that none waits long for the others.
const TILES_A_THREAD: usize = 4;

thread_local! {
    /// Packed tokens' memory, kept for the next product.
    static PACKED: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
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
    let mut packed = PACKED.take();
    // Enough tiles for all threads where the widest layer has too few of them side by side.
    let across = layers.iter().map(|layer| layer.outputs.div_ceil(TILE_COLS)).max().unwrap_or(1);
    let along = (TILES_A_THREAD * rayon::current_num_threads()).div_ceil(across);
    let parts = tokens.div_ceil(TILE_TOKENS * along);
    let most = tokens.div_ceil(parts).next_multiple_of(ROWS);
    for first in (0..tokens).step_by(most) {
        let end = tokens.min(first + most);
        let blocks = Blocks { words, inputs: rows.inputs, panels: (end - first).div_ceil(ROWS) };
        if packed.len() < blocks.total() {
            packed = vec![0; blocks.total()];
        }
        pack_tokens(rows, first..end, &blocks, &mut packed);
        // Tiles of one size, so that none is small and has all its weights to pack.
        let tiles = along.min((end - first).div_ceil(LEAST_TOKENS)).max((end - first).div_ceil(TILE_TOKENS));
        let tile = (end - first).div_ceil(tiles).next_multiple_of(ROWS);
        for layer in &mut *layers {
            layer.each(first..end, |product, y| product.multiply(&packed, &blocks, (end - first, tile), y));
        }
    }
    PACKED.set(packed);
}

/// How inputs are cut into panels' depths.
struct Blocks {
    words: Words,
    inputs: usize,
    panels: usize,
}

impl Blocks {
    /// First input, inputs, and words of a panel, of every block; panels are filled up to whole quadruples of words.
    fn each(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let depth = DEPTH * self.words.inputs();
        (0..self.inputs).step_by(depth).map(move |first| {
            let inputs = (self.inputs - first).min(depth);
            (first, inputs, inputs.div_ceil(4 * self.words.inputs()) * 4)
        })
    }

    /// Words of all panels.
    fn total(&self) -> usize {
        self.each().map(|(.., words)| words).sum::<usize>() * self.panels * ROWS
    }

    /// Where the panels of the block start that begins with this input; every block before is full.
    fn start(&self, first: usize) -> usize {
        first / self.words.inputs() * self.panels * ROWS
    }

    /// The inputs of so many words from one on, in a block of `count` inputs that starts at `first`.
    fn range(&self, (first, count): (usize, usize), word: usize, words: usize) -> std::ops::Range<usize> {
        let (from, to) = (word * self.words.inputs(), (word + words) * self.words.inputs());
        first + from.min(count)..first + to.min(count)
    }
}

fn pack_tokens(rows: &Rows, tokens: std::ops::Range<usize>, blocks: &Blocks, packed: &mut [u32]) {
    let inputs = blocks.inputs;
    let x = &rows.x[tokens.start * inputs..tokens.end * inputs];
    let packed = Disjoint::new(packed);
    let panels = x.par_chunks(ROWS * inputs);
    panels.enumerate().for_each(|(panel, x)| {
        let mut factors = [1.0; ROWS];
        if let Some((_, eps)) = rows.norm {
            let rows = x.chunks_exact(inputs);
            factors.iter_mut().zip(rows).for_each(|(factor, x)| *factor = rms_norm::factor(x, eps));
        }
        for (first, count, words) in blocks.each() {
            let start = blocks.start(first) + panel * words * ROWS;
            // SAFETY: this panel of this block, which is this task's alone.
            let to = unsafe { packed.slice(start, words * ROWS) };
            let mut normed = [0.0; 2 * CHUNK];
            let fill = |row: usize, word: usize, row_words: &mut [u32]| {
                let range = blocks.range((first, count), word, row_words.len());
                let mut x = &x[row * inputs..][range.clone()];
                if let Some((weight, _)) = &rows.norm {
                    let normed = &mut normed[..x.len()];
                    rms_norm::scale(x, factors[row], &weight[range], normed);
                    x = normed;
                }
                blocks.words.fill(rows.compute, Floats::F32(x), row_words);
            };
            pack::<ROWS>(x.len() / inputs, fill, to);
        }
    });
}

impl Product<'_> {
    /// The product with packed rows, of which so many make a tile.
    fn multiply(
        &self,
        packed: &[u32],
        blocks: &Blocks,
        (tokens, tile_tokens): (usize, usize),
        y: &mut [f32],
    ) {
        let &Self { compute, inputs, .. } = self;
        let w = self.dense();
        self.each_tile(
            tokens,
            (tile_tokens, TILE_COLS),
            y,
            |(first_token, m), (first_output, n), mut keep, tile| {
                for (first, count, words) in blocks.each() {
                    with_scratch(n.div_ceil(COLS) * COLS * words, |panels| {
                        let panels: &mut [u32] = bytemuck::cast_slice_mut(panels);
                        for (place, panel) in panels.chunks_exact_mut(COLS * words).enumerate() {
                            let fill = |row: usize, word: usize, row_words: &mut [u32]| {
                                let range = blocks.range((first, count), word, row_words.len());
                                let start = (first_output + place * COLS + row) * inputs;
                                let from = w.slice(start + range.start..start + range.end);
                                blocks.words.fill(compute, from, row_words);
                            };
                            pack::<COLS>(COLS.min(n - place * COLS), fill, panel);
                        }
                        let x = &packed[blocks.start(first) + first_token / ROWS * ROWS * words..];
                        // SAFETY: the processor has the instructions; the tile is this task's alone.
                        unsafe { multiply_panels(blocks.words, words, x, panels, keep, (m, n), None, tile) };
                    });
                    keep = true;
                }
            },
        );
    }
}
