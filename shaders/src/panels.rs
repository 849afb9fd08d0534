//! Products on processors with AVX-512, in f32 or with pairs of bf16 multiplied at once (AVX512-BF16).
//!
//! The left operand is read where it lies, row by row. The right one is packed in panels of [`COLS`] columns, so that the inner
//! loop reads it in order, in words of one f32 or two bf16. A step of the inner loop takes one word of [`ROWS`] rows and of
//! every column of a panel; [`ROWS`] × [`COLS`] sums stay in registers. Six rows of four vectors take ten reads for 24
//! multiplications: twelve rows of two vectors take fourteen, and reach a tenth less.

use std::arch::x86_64::*;

use crate::parallel::Tile;

mod columns;
mod pack;
mod serial;

pub(crate) use columns::with_columns;
pub(crate) use pack::{Rows, copy, pack_filled};
pub(crate) use serial::product;

/// Words of a vector.
const LANES: usize = 16;

/// Rows and columns whose sums are held in registers: 24 of the 32 vectors.
pub(crate) const ROWS: usize = 6;
pub(crate) const COLS: usize = 4 * LANES;

/// Words of a panel: those of a tile's columns then stay in the second-level cache.
pub(crate) const DEPTH: usize = 768;

/// Columns of a tile, whose panels are packed together.
pub(crate) const TILE_COLS: usize = 4 * COLS;

/// Steps of the inner loop from when a panel's words are fetched from the second-level cache to when they are multiplied.
const AHEAD: usize = 12;

/// Words that are packed at a time: both sides of the transposition then stay in the first-level cache.
pub(crate) const CHUNK: usize = 64;

/// The content of a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// One f32.
    F32,
    /// Two bf16.
    BF16,
}

/// The left operand: rows of words, so many apart.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub(crate) start: *const u32,
    pub(crate) stride: usize,
}

/// The right operand: words of up to [`COLS`] columns side by side, so many apart, panel after panel.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    pub(crate) start: *const u32,
    pub(crate) stride: usize,
}

/// `tile = alpha · a · b + beta · tile` for so many words; with `beta` 0 the tile's content is not read. Given how many rows the
/// tile starts below the matrix' row of its first column, panels above the diagonal are left out.
///
/// # Safety
/// The processor has the instructions for these words; the operands have these rows, columns and words; the tile has these rows
/// and columns, and nothing else uses them.
pub(crate) unsafe fn multiply(
    words: Words,
    depth: usize,
    (alpha, beta): (f32, f32),
    a: Left,
    b: Right,
    (rows, cols): (usize, usize),
    below: Option<isize>,
    tile: Tile,
) {
    for first_row in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first_row);
        // Rows that are not there are computed as the last one is, and not written.
        let row = |r: usize| a.start.wrapping_add((first_row + r.min(count - 1)) * a.stride);
        let a = [row(0), row(1), row(2), row(3), row(4), row(5)];
        for first_col in (0..cols).step_by(COLS) {
            if below.is_some_and(|below| (first_row + ROWS) as isize + below <= first_col as isize) {
                continue;
            }
            let size = (count, COLS.min(cols - first_col));
            // SAFETY: as the caller promises, of these rows and columns of the tile.
            unsafe {
                let b = Right { start: b.start.add(first_col * depth), ..b };
                let to = Tile { start: tile.start.add(first_row * tile.stride + first_col), ..tile };
                let panel = match (words, size.1.div_ceil(LANES)) {
                    (Words::F32, 1) => panel_f32::<1>,
                    (Words::F32, 2) => panel_f32::<2>,
                    (Words::F32, 3) => panel_f32::<3>,
                    (Words::F32, _) => panel_f32::<4>,
                    (Words::BF16, 1) => panel_bf16::<1>,
                    (Words::BF16, 2) => panel_bf16::<2>,
                    (Words::BF16, 3) => panel_bf16::<3>,
                    (Words::BF16, _) => panel_bf16::<4>,
                };
                panel(depth, (alpha, beta), a, b, size, to);
            }
        }
    }
}

/// Defines the product of [`ROWS`] rows with so many vectors of columns, `y = alpha · a · b + beta · y`, of which so many rows
/// and columns are written.
///
/// # Safety
/// The processor has the instructions; y has these rows and columns, and nothing else uses them.
macro_rules! panel {
    ($name:ident, $features:literal, $multiply_add:expr) => {
        #[target_feature(enable = $features)]
        unsafe fn $name<const VECTORS: usize>(
            depth: usize,
            (alpha, beta): (f32, f32),
            a: [*const u32; ROWS],
            b: Right,
            (rows, cols): (usize, usize),
            y: Tile,
        ) {
            // They are there when the sums are.
            for row in 0..rows {
                for vector in 0..VECTORS {
                    _mm_prefetch::<_MM_HINT_T0>(y.start.wrapping_add(row * y.stride + LANES * vector).cast());
                }
            }
            let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
            let mut right = b.start;
            for k in 0..depth {
                for vector in 0..VECTORS {
                    _mm_prefetch::<_MM_HINT_T0>(right.wrapping_add(AHEAD * b.stride + LANES * vector).cast());
                }
                let mut b_words = [_mm512_setzero_si512(); VECTORS];
                for (vector, b) in b_words.iter_mut().enumerate() {
                    // SAFETY: the operand has these columns, or zeros in their place.
                    *b = unsafe { _mm512_loadu_si512(right.add(LANES * vector).cast()) };
                }
                for (a, sums) in a.iter().zip(&mut sums) {
                    // SAFETY: the operand has this word of the row.
                    let a = _mm512_set1_epi32(unsafe { *a.add(k) }.cast_signed());
                    for (sum, b) in sums.iter_mut().zip(b_words) {
                        *sum = $multiply_add(*sum, a, b);
                    }
                }
                right = right.wrapping_add(b.stride);
            }
            let (alpha, factor) = (_mm512_set1_ps(alpha), _mm512_set1_ps(beta));
            for (row, sums) in sums.into_iter().enumerate().take(rows) {
                for (vector, sum) in sums.into_iter().enumerate() {
                    let mask = pack::mask(cols.saturating_sub(LANES * vector));
                    // SAFETY: the mask leaves what the caller vouches for.
                    unsafe {
                        let y = y.start.add(row * y.stride + LANES * vector);
                        let sum = if beta == 0.0 {
                            _mm512_mul_ps(sum, alpha)
                        } else {
                            let old = _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(mask, y));
                            _mm512_fmadd_ps(sum, alpha, old)
                        };
                        _mm512_mask_storeu_ps(y, mask, sum);
                    }
                }
            }
        }
    };
}

panel!(panel_f32, "avx512f", |sum, a, b| {
    _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum)
});
panel!(panel_bf16, "avx512f,avx512bf16", |sum, a, b| {
    // SAFETY: both types are 64 bytes of anything.
    let pairs = |words| unsafe { std::mem::transmute::<__m512i, __m512bh>(words) };
    _mm512_dpbf16_ps(sum, pairs(a), pairs(b))
});

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn panels_are_multiplied_in_either_word() {
        // Numbers that bf16 holds, so that both are exact but for the sums.
        let number = |i: usize| ((i * 37) % 61) as f32 / 8.0 - 3.5;
        for words in [Words::F32, Words::BF16] {
            let has = match words {
                Words::F32 => is_x86_feature_detected!("avx512f"),
                Words::BF16 => is_x86_feature_detected!("avx512bf16"),
            };
            if !has {
                continue;
            }
            for (rows, cols, depth, beta) in
                [(17usize, 109usize, 8, 1.0), (1, 1, 3, 0.0), (6, 64, 1, -2.0), (13, 81, 40, 0.5)]
            {
                let inputs = if words == Words::F32 { depth } else { 2 * depth };
                let row = |which: usize| -> Vec<u32> {
                    let of = |at: usize| number(which * inputs + at);
                    match words {
                        Words::F32 => (0..depth).map(|k| of(k).to_bits()).collect(),
                        Words::BF16 => {
                            let bits = |at| u32::from(bf16::from_f32(of(at)).to_bits());
                            (0..depth).map(|k| bits(2 * k) | bits(2 * k + 1) << 16).collect()
                        }
                    }
                };
                let a: Vec<u32> = (0..rows).flat_map(row).collect();
                let mut b = vec![0; cols.div_ceil(COLS) * COLS * depth];
                for (place, panel) in b.chunks_exact_mut(COLS * depth).enumerate() {
                    let fill = |r: usize, first: usize, out: &mut [u32]| {
                        out.copy_from_slice(&row(100 + place * COLS + r)[first..first + out.len()]);
                    };
                    // SAFETY: the instructions were looked for.
                    unsafe { pack_filled(COLS.min(cols - place * COLS), fill, panel) };
                }
                let stride = cols + 5;
                let mut y = vec![1.0f32; rows * stride];
                let (a, b) =
                    (Left { start: a.as_ptr(), stride: depth }, Right { start: b.as_ptr(), stride: COLS });
                let tile = Tile { start: y.as_mut_ptr(), stride };
                // SAFETY: the instructions were looked for; y is as large as said.
                unsafe { multiply(words, depth, (0.5, beta), a, b, (rows, cols), None, tile) };
                for (at, found) in y.into_iter().enumerate() {
                    let (r, c) = (at / stride, at % stride);
                    if c >= cols {
                        assert_eq!(found, 1.0, "beside the tile");
                        continue;
                    }
                    let product = |k: usize| number(r * inputs + k) * number((100 + c) * inputs + k);
                    let expected: f32 = beta + 0.5 * (0..inputs).map(product).sum::<f32>();
                    assert!((found - expected).abs() < 1e-3, "{r} {c}: {found} {expected}");
                }
            }
        }
    }
}
