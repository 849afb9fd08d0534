//! `y = x · wᵀ` on processors with AVX-512: in f32, or with pairs of bf16 multiplied at once (AVX512-BF16).
//!
//! Operands are rounded, widened and packed so that the inner loop reads them in order: x in panels of [`ROWS`] tokens, w
//! in panels of [`COLS`] outputs, in words of one f32 or two bf16 inputs. A step of the inner loop takes one word of every
//! token and output of a panel; [`ROWS`] × [`COLS`] sums stay in registers. x is packed once for all tasks.

use std::{arch::x86_64::*, cell::Cell};

use rayon::prelude::*;

use super::{Product, Products, Rows, prepared_tokens};
use crate::{
    Compute, Floats, FloatsMut,
    parallel::{Disjoint, with_scratch},
    rms_norm,
};

/// Tokens and outputs whose sums are held in registers: 24 of the 32 vectors.
const ROWS: usize = 12;
const COLS: usize = 32;

/// Words of a panel: w's panels of a task then stay in the second-level cache.
const DEPTH: usize = 768;

/// The tile of y that one task computes; each packs its own weights.
const TILE_TOKENS: usize = 84 * ROWS;
const TILE_OUTPUTS: usize = 4 * COLS;

thread_local! {
    /// Packed tokens' memory, kept for the next product.
    static PACKED: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

/// The content of a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// One f32.
    F32,
    /// Two bf16.
    BF16,
}

impl Words {
    /// The words for products in this type, if this processor has the instructions.
    pub(super) fn of(compute: Compute) -> Option<Self> {
        let has_bf16 = is_x86_feature_detected!("avx512bf16");
        match compute {
            _ if !is_x86_feature_detected!("avx512f") => None,
            Compute::BF16 if has_bf16 => Some(Self::BF16),
            _ => Some(Self::F32),
        }
    }

    fn inputs(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::BF16 => 2,
        }
    }

    /// Rounds elements to the type to compute in and puts them into words, one after the other.
    fn fill(self, compute: Compute, from: Floats<'_>, words: &mut [u32]) {
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
    let most = prepared_tokens((TILE_TOKENS, TILE_OUTPUTS), layers);
    for first in (0..tokens).step_by(most) {
        let end = tokens.min(first + most);
        let blocks = Blocks { words, inputs: rows.inputs, panels: (end - first).div_ceil(ROWS) };
        if packed.len() < blocks.total() {
            packed = vec![0; blocks.total()];
        }
        pack_tokens(rows, first..end, &blocks, &mut packed);
        for layer in &mut *layers {
            layer.each(first..end, |product, y| product.multiply(&packed, &blocks, end - first, y));
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
            with_scratch(4 * words + count, |scratch| {
                let (scratch, normed) = scratch.split_at_mut(4 * words);
                let fill = |row: usize, row_words: &mut [u32]| {
                    let mut x = &x[row * inputs + first..][..count];
                    if let Some((weight, _)) = &rows.norm {
                        rms_norm::scale(x, factors[row], &weight[first..][..count], normed);
                        x = normed;
                    }
                    blocks.words.fill(rows.compute, Floats::F32(x), row_words);
                };
                pack::<ROWS>(x.len() / inputs, fill, bytemuck::cast_slice_mut(scratch), to);
            });
        }
    });
}

/// Packs up to `WIDTH` rows, a multiple of 4: word `k` of row `r` goes to `k · WIDTH + r`. Zeros fill the panel up.
/// `scratch` holds four rows.
fn pack<const WIDTH: usize>(
    rows: usize,
    mut fill: impl FnMut(usize, &mut [u32]),
    scratch: &mut [u32],
    panel: &mut [u32],
) {
    let words = panel.len() / WIDTH;
    for group in (0..WIDTH).step_by(4) {
        scratch.fill(0);
        for (row, row_words) in (group..rows.min(group + 4)).zip(scratch.chunks_exact_mut(words)) {
            fill(row, row_words);
        }
        let (a, rest) = scratch.split_at(words);
        let (b, rest) = rest.split_at(words);
        let (c, d) = rest.split_at(words);
        for (k, to) in panel.chunks_exact_mut(4 * WIDTH).enumerate() {
            let load = |row: &[u32]| {
                let four: &[u32; 4] = &row.as_chunks().0[k];
                // SAFETY: 16 bytes are read, and there are so many.
                unsafe { _mm_loadu_si128(four.as_ptr().cast()) }
            };
            let (a, b, c, d) = (load(a), load(b), load(c), load(d));
            // SAFETY: SSE2 is part of x86-64.
            let columns = unsafe {
                let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
                let (ab_high, cd_high) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
                [
                    _mm_unpacklo_epi64(ab, cd),
                    _mm_unpackhi_epi64(ab, cd),
                    _mm_unpacklo_epi64(ab_high, cd_high),
                    _mm_unpackhi_epi64(ab_high, cd_high),
                ]
            };
            for (column, to) in columns.into_iter().zip(to.chunks_exact_mut(WIDTH)) {
                let to = &mut to[group..group + 4];
                // SAFETY: 16 bytes are written, and there are so many.
                unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), column) };
            }
        }
    }
}

impl Product<'_> {
    /// The product with packed rows.
    fn multiply(&self, packed: &[u32], blocks: &Blocks, tokens: usize, y: &mut [f32]) {
        let &Self { w, compute, inputs, .. } = self;
        self.each_tile(
            tokens,
            (TILE_TOKENS, TILE_OUTPUTS),
            y,
            |(first_token, m), (first_output, n), mut keep, tile| {
                for (first, count, words) in blocks.each() {
                    with_scratch((n.div_ceil(COLS) * COLS + 4) * words, |scratch| {
                        let (scratch, panels) = bytemuck::cast_slice_mut(scratch).split_at_mut(4 * words);
                        for (place, panel) in panels.chunks_exact_mut(COLS * words).enumerate() {
                            let fill = |row: usize, row_words: &mut [u32]| {
                                let start = (first_output + place * COLS + row) * inputs + first;
                                blocks.words.fill(compute, w.slice(start..start + count), row_words);
                            };
                            pack::<COLS>(COLS.min(n - place * COLS), fill, scratch, panel);
                        }
                        let x = &packed[blocks.start(first)..];
                        for first_row in (0..m).step_by(ROWS) {
                            let x = &x[(first_token + first_row) / ROWS * ROWS * words..][..ROWS * words];
                            for (place, w) in panels.chunks_exact(COLS * words).enumerate() {
                                let size = (ROWS.min(m - first_row), COLS.min(n - place * COLS));
                                // SAFETY: the processor has the instructions; these rows and columns are in this task's
                                // tile.
                                unsafe {
                                    let to = tile.start.add(first_row * tile.stride + place * COLS);
                                    match blocks.words {
                                        Words::F32 => panel_f32(x, w, keep, size, to, tile.stride),
                                        Words::BF16 => panel_bf16(x, w, keep, size, to, tile.stride),
                                    }
                                }
                            }
                        }
                    });
                    keep = true;
                }
            },
        );
    }
}

/// Defines the product of one panel of tokens with one of outputs, `y (+)= x · wᵀ`, of which so many rows and columns are
/// written.
///
/// # Safety
/// The processor has the instructions; y has these rows, `stride` apart, and columns, and nothing else uses them.
macro_rules! panel {
    ($name:ident, $features:literal, $multiply_add:expr) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(
            x: &[u32],
            w: &[u32],
            keep: bool,
            (rows, cols): (usize, usize),
            y: *mut f32,
            stride: usize,
        ) {
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            for (x, w) in x.as_chunks::<ROWS>().0.iter().zip(w.as_chunks::<COLS>().0) {
                let (low, high) = w.split_at(16);
                // SAFETY: 16 words each.
                let w = unsafe {
                    [_mm512_loadu_si512(low.as_ptr().cast()), _mm512_loadu_si512(high.as_ptr().cast())]
                };
                for (x, sums) in x.iter().zip(&mut sums) {
                    let x = _mm512_set1_epi32(x.cast_signed());
                    for (sum, w) in sums.iter_mut().zip(w) {
                        *sum = $multiply_add(*sum, x, w);
                    }
                }
            }
            for (row, sums) in sums.into_iter().enumerate().take(rows) {
                for (half, mut sum) in sums.into_iter().enumerate() {
                    let mask = ((1u32 << cols.saturating_sub(16 * half).min(16)) - 1) as __mmask16;
                    // SAFETY: the mask leaves what the caller vouches for.
                    unsafe {
                        let y = y.add(row * stride + 16 * half);
                        if keep {
                            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, y));
                        }
                        _mm512_mask_storeu_ps(y, mask, sum);
                    }
                }
            }
        }
    };
}

panel!(panel_f32, "avx512f", |sum, x, w| {
    _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(w), sum)
});
panel!(panel_bf16, "avx512f,avx512bf16", |sum, x, w| {
    // SAFETY: both types are 64 bytes of anything.
    let pairs = |words| unsafe { std::mem::transmute::<__m512i, __m512bh>(words) };
    _mm512_dpbf16_ps(sum, pairs(x), pairs(w))
});
