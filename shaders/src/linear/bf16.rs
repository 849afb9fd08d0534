//! `y = x · wᵀ` with bf16 operands and f32 sums, on processors that multiply pairs of bf16 at once (AVX512-BF16).
//!
//! Operands are rounded and packed so that the inner loop reads them in order: x in panels of [`ROWS`] tokens, w in
//! panels of [`COLS`] outputs, both with two inputs to a word. A step of the inner loop takes one word of every token
//! and output of a panel; [`ROWS`] × [`COLS`] sums stay in registers.

use std::{arch::x86_64::*, cell::Cell};

use rayon::prelude::*;

use super::prefill;
use crate::{
    Floats, FloatsMut,
    parallel::{Disjoint, with_scratch},
};

/// Tokens and outputs whose sums are held in registers: 24 of the 32 vectors.
const ROWS: usize = 12;
const COLS: usize = 32;

/// Words of a panel, two inputs each: w's panels of a task then stay in the second-level cache.
const DEPTH: usize = 256;

/// The tile of y that one task computes; each packs its own weights.
const TILE_TOKENS: usize = 84 * ROWS;
const TILE_OUTPUTS: usize = 4 * COLS;

/// Tokens that are packed at a time, for all tasks.
const CHUNK_TOKENS: usize = 2 * TILE_TOKENS;

thread_local! {
    /// Packed tokens' memory, kept for the next product.
    static PACKED: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

/// Whether this processor has the instructions.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
}

/// As [`cpu`](super::cpu) with [`Compute::BF16`](crate::Compute::BF16), on a processor where this is [`available`]. The
/// order of the sums depends on the number of inputs alone.
pub(super) fn tiles(
    x: &[f32],
    w: Floats<'_>,
    bias: Option<&[f32]>,
    accumulate: bool,
    (tokens, inputs, outputs): (usize, usize, usize),
    y: &mut [f32],
) {
    assert!(available(), "a processor with AVX512-BF16");
    let chunks = x.chunks((CHUNK_TOKENS * inputs).max(1));
    for (x, y) in chunks.zip(y.chunks_mut((CHUNK_TOKENS * outputs).max(1))) {
        let tokens = tokens.min(y.len() / outputs);
        let blocks = Blocks::new(inputs, tokens.div_ceil(ROWS));
        let mut packed = PACKED.take();
        if packed.len() < blocks.words() {
            packed = vec![0; blocks.words()];
        }
        pack_tokens(x, inputs, &blocks, &mut packed);
        multiply(&packed, &blocks, w, bias, accumulate, (tokens, inputs, outputs), y);
        PACKED.set(packed);
    }
}

/// How inputs are cut into panels' depths.
struct Blocks {
    inputs: usize,
    panels: usize,
}

impl Blocks {
    fn new(inputs: usize, panels: usize) -> Self {
        Self { inputs, panels }
    }

    /// First input, inputs, and words of a panel, of every block; panels are filled up to whole quadruples of words.
    fn each(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..self.inputs).step_by(2 * DEPTH).map(|first| {
            let inputs = (self.inputs - first).min(2 * DEPTH);
            (first, inputs, inputs.div_ceil(8) * 4)
        })
    }

    /// Words of all panels.
    fn words(&self) -> usize {
        self.each().map(|(.., words)| words).sum::<usize>() * self.panels * ROWS
    }

    /// Where the panels of the block start that begins with this input; every block before is full.
    fn start(&self, first: usize) -> usize {
        first / 2 * self.panels * ROWS
    }
}

fn pack_tokens(x: &[f32], inputs: usize, blocks: &Blocks, packed: &mut [u32]) {
    let tokens = x.len() / inputs.max(1);
    let packed = Disjoint::new(packed);
    (0..blocks.panels).into_par_iter().for_each(|panel| {
        let rows = ROWS.min(tokens - panel * ROWS);
        for (first, count, words) in blocks.each() {
            let start = blocks.start(first) + panel * words * ROWS;
            // SAFETY: this panel of this block, which is this task's alone.
            let panel_words = unsafe { packed.slice(start, words * ROWS) };
            with_scratch(4 * words, |scratch| {
                let row = |row: usize| {
                    let start = (panel * ROWS + row) * inputs + first;
                    Floats::F32(&x[start..start + count])
                };
                pack::<ROWS>(rows, row, bytemuck::cast_slice_mut(scratch), panel_words);
            });
        }
    });
}

/// Packs up to `WIDTH` rows, a multiple of 4, of as many inputs: word `k` of row `r` goes to `k · WIDTH + r`. Zeros fill
/// the panel up. `scratch` holds four rows.
fn pack<'a, const WIDTH: usize>(
    rows: usize,
    row: impl Fn(usize) -> Floats<'a>,
    scratch: &mut [u32],
    panel: &mut [u32],
) {
    let words = panel.len() / WIDTH;
    for group in (0..WIDTH).step_by(4) {
        let halves: &mut [u16] = bytemuck::cast_slice_mut(scratch);
        halves.fill(0);
        for (place, halves) in (group..rows.min(group + 4)).zip(halves.chunks_exact_mut(2 * words)) {
            let from = row(place);
            let out = bytemuck::cast_slice_mut(&mut halves[..from.len()]);
            match from {
                Floats::F32(from) => FloatsMut::BF16(out).narrow(from),
                Floats::BF16(from) => out.copy_from_slice(from),
                from @ Floats::F16(_) => FloatsMut::BF16(out).narrow(&from.to_vec()),
            }
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

fn multiply(
    packed: &[u32],
    blocks: &Blocks,
    w: Floats<'_>,
    bias: Option<&[f32]>,
    accumulate: bool,
    (tokens, inputs, outputs): (usize, usize, usize),
    y: &mut [f32],
) {
    let token_tiles = tokens.div_ceil(TILE_TOKENS);
    let y = Disjoint::new(y);
    (0..outputs.div_ceil(TILE_OUTPUTS) * token_tiles).into_par_iter().with_max_len(1).for_each(|tile| {
        let (first_output, first_token) =
            (tile / token_tiles * TILE_OUTPUTS, tile % token_tiles * TILE_TOKENS);
        let (n, m) = (TILE_OUTPUTS.min(outputs - first_output), TILE_TOKENS.min(tokens - first_token));
        // SAFETY: this tile is this task's alone.
        let mut keep = unsafe { prefill(bias, accumulate, (first_token, m), (first_output, n), outputs, &y) };
        for (first, count, words) in blocks.each() {
            with_scratch((n.div_ceil(COLS) * COLS + 4) * words, |scratch| {
                let (scratch, panels) = bytemuck::cast_slice_mut(scratch).split_at_mut(4 * words);
                for (place, panel) in panels.chunks_exact_mut(COLS * words).enumerate() {
                    let row = |row: usize| {
                        let start = (first_output + place * COLS + row) * inputs + first;
                        w.slice(start..start + count)
                    };
                    pack::<COLS>(COLS.min(n - place * COLS), row, scratch, panel);
                }
                let x = &packed[blocks.start(first)..];
                for first_row in (0..m).step_by(ROWS) {
                    let x = &x[(first_token + first_row) / ROWS * ROWS * words..][..ROWS * words];
                    for (place, w) in panels.chunks_exact(COLS * words).enumerate() {
                        let rows = ROWS.min(m - first_row);
                        let cols = COLS.min(n - place * COLS);
                        let to = (first_token + first_row) * outputs + first_output + place * COLS;
                        // SAFETY: the processor has the instructions; the operands are whole panels; `rows` rows of
                        // `cols` columns from `to` on are in this task's tile.
                        unsafe { panel(x, w, keep, (rows, cols), y.at(to), outputs) };
                    }
                }
            });
            keep = true;
        }
    });
}

/// One panel of tokens with one of outputs: `y (+)= x · wᵀ`, `rows` rows of `cols` columns of it.
///
/// # Safety
/// y has these rows, `stride` apart, and columns, and nothing else uses them.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn panel(x: &[u32], w: &[u32], keep: bool, (rows, cols): (usize, usize), y: *mut f32, stride: usize) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for (x, w) in x.as_chunks::<ROWS>().0.iter().zip(w.as_chunks::<COLS>().0) {
        // SAFETY: two vectors of 16 words.
        let w =
            unsafe { [_mm512_loadu_si512(w.as_ptr().cast()), _mm512_loadu_si512(w[16..].as_ptr().cast())] };
        for (x, sums) in x.iter().zip(&mut sums) {
            let x = _mm512_set1_epi32(x.cast_signed());
            for (sum, w) in sums.iter_mut().zip(w) {
                // SAFETY: both types are 64 bytes of anything.
                let (x, w) = unsafe {
                    (std::mem::transmute::<__m512i, __m512bh>(x), std::mem::transmute::<__m512i, __m512bh>(w))
                };
                *sum = _mm512_dpbf16_ps(*sum, x, w);
            }
        }
    }
    let mask = |from: usize| ((1u32 << cols.saturating_sub(from).min(16)) - 1) as __mmask16;
    for (row, sums) in sums.into_iter().enumerate().take(rows) {
        for (half, mut sum) in sums.into_iter().enumerate() {
            let mask = mask(16 * half);
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
