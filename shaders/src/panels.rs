//! Products of packed panels on processors with AVX-512, in f32 or with pairs of bf16 multiplied at once (AVX512-BF16).
//!
//! Operands are packed so that the inner loop reads them in order: the left one in panels of [`ROWS`] rows, the right one in
//! panels of [`COLS`], in words of one f32 or two bf16. A step of the inner loop takes one word of every row and column of
//! a panel; [`ROWS`] × [`COLS`] sums stay in registers.

use std::arch::x86_64::*;

use crate::parallel::Tile;

/// Rows and columns whose sums are held in registers: 24 of the 32 vectors.
pub(crate) const ROWS: usize = 12;
pub(crate) const COLS: usize = 32;

/// Words of a panel: those of a tile's columns then stay in the second-level cache.
pub(crate) const DEPTH: usize = 768;

/// Columns of a tile, whose panels are packed together.
pub(crate) const TILE_COLS: usize = 4 * COLS;

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

/// Packs up to `WIDTH` rows, a multiple of 4 and at most [`COLS`]: word `k` of row `r` goes to `k · WIDTH + r`. Zeros fill the
/// panel up, whose words are a multiple of 4. `fill` puts words of a row, from the one given on, into a slice.
pub(crate) fn pack<const WIDTH: usize>(
    rows: usize,
    mut fill: impl FnMut(usize, usize, &mut [u32]),
    panel: &mut [u32],
) {
    let mut lines = [[0u32; CHUNK]; COLS];
    for (chunk, panel) in panel.chunks_mut(CHUNK * WIDTH).enumerate() {
        let words = panel.len() / WIDTH;
        for (row, line) in lines.iter_mut().enumerate().take(rows) {
            fill(row, chunk * CHUNK, &mut line[..words]);
        }
        for (k, to) in (0..words).step_by(4).zip(panel.chunks_exact_mut(4 * WIDTH)) {
            for group in (0..WIDTH).step_by(4) {
                let load = |row: usize| {
                    let four: &[u32; 4] = &lines[group + row].as_chunks().0[k / 4];
                    // SAFETY: 16 bytes are read, and there are so many.
                    unsafe { _mm_loadu_si128(four.as_ptr().cast()) }
                };
                let (a, b, c, d) = (load(0), load(1), load(2), load(3));
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
}

/// `tile (+)= a · b` for packed panels of so many words: as many of `a` as `rows` take, and of `b` as `cols` take. Given how many
/// rows the tile starts below the matrix' row of its first column, panels above the diagonal are left out.
///
/// # Safety
/// The processor has the instructions for these words; the tile has these rows and columns, and nothing else uses them.
pub(crate) unsafe fn multiply(
    words: Words,
    depth: usize,
    a: &[u32],
    b: &[u32],
    keep: bool,
    (rows, cols): (usize, usize),
    below: Option<isize>,
    tile: Tile,
) {
    for (first_row, a) in (0..rows).step_by(ROWS).zip(a.chunks_exact(ROWS * depth)) {
        for (first_col, b) in (0..cols).step_by(COLS).zip(b.chunks_exact(COLS * depth)) {
            if below.is_some_and(|below| (first_row + ROWS) as isize + below <= first_col as isize) {
                continue;
            }
            let size = (ROWS.min(rows - first_row), COLS.min(cols - first_col));
            // SAFETY: as the caller promises, of these rows and columns of the tile.
            unsafe {
                let to = tile.start.add(first_row * tile.stride + first_col);
                match words {
                    Words::F32 => panel_f32(a, b, keep, size, to, tile.stride),
                    Words::BF16 => panel_bf16(a, b, keep, size, to, tile.stride),
                }
            }
        }
    }
}

/// Defines the product of one panel of rows with one of columns, `y (+)= a · b`, of which so many rows and columns are
/// written.
///
/// # Safety
/// The processor has the instructions; y has these rows, `stride` apart, and columns, and nothing else uses them.
macro_rules! panel {
    ($name:ident, $features:literal, $multiply_add:expr) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(
            a: &[u32],
            b: &[u32],
            keep: bool,
            (rows, cols): (usize, usize),
            y: *mut f32,
            stride: usize,
        ) {
            // They are there when the sums are.
            for row in 0..rows {
                let y = y.wrapping_add(row * stride);
                _mm_prefetch::<_MM_HINT_T0>(y.cast());
                _mm_prefetch::<_MM_HINT_T0>(y.wrapping_add(16).cast());
            }
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b.as_chunks::<COLS>().0) {
                let (low, high) = b.split_at(16);
                // SAFETY: 16 words each.
                let b = unsafe {
                    [_mm512_loadu_si512(low.as_ptr().cast()), _mm512_loadu_si512(high.as_ptr().cast())]
                };
                for (a, sums) in a.iter().zip(&mut sums) {
                    let a = _mm512_set1_epi32(a.cast_signed());
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = $multiply_add(*sum, a, b);
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
        let (rows, cols, depth) = (17, 45, 8);
        for words in [Words::F32, Words::BF16] {
            let has = match words {
                Words::F32 => is_x86_feature_detected!("avx512f"),
                Words::BF16 => is_x86_feature_detected!("avx512bf16"),
            };
            if !has {
                continue;
            }
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
            let panels = |count: usize, width: usize, from: usize| -> Vec<u32> {
                let mut all = vec![0; count.div_ceil(width) * width * depth];
                for (place, panel) in all.chunks_exact_mut(width * depth).enumerate() {
                    let fill = |r: usize, first: usize, out: &mut [u32]| {
                        out.copy_from_slice(&row(from + place * width + r)[first..first + out.len()]);
                    };
                    let here = width.min(count - place * width);
                    if width == ROWS {
                        pack::<ROWS>(here, fill, panel)
                    } else {
                        pack::<COLS>(here, fill, panel)
                    }
                }
                all
            };
            let (a, b) = (panels(rows, ROWS, 0), panels(cols, COLS, 100));
            let mut y = vec![1.0f32; rows * cols];
            let tile = Tile { start: y.as_mut_ptr(), stride: cols };
            // SAFETY: the instructions were looked for; y is as large as said.
            unsafe { multiply(words, depth, &a, &b, true, (rows, cols), None, tile) };
            for (at, found) in y.into_iter().enumerate() {
                let (r, c) = (at / cols, at % cols);
                let product = |k: usize| number(r * inputs + k) * number((100 + c) * inputs + k);
                let expected: f32 = 1.0 + (0..inputs).map(product).sum::<f32>();
                assert!((found - expected).abs() < 1e-3, "{r} {c}: {found} {expected}");
            }
        }
    }

    #[test]
    fn rows_are_transposed_in_chunks() {
        for (rows, words) in [(1, 4), (3, 60), (32, 64), (31, 132), (5, 200)] {
            let mut panel = vec![u32::MAX; words * COLS];
            let word = |row: usize, k: usize| (1000 * row + k) as u32;
            let fill = |row: usize, first: usize, out: &mut [u32]| {
                out.iter_mut().enumerate().for_each(|(k, out)| *out = word(row, first + k));
            };
            pack::<COLS>(rows, fill, &mut panel);
            for (at, found) in panel.into_iter().enumerate() {
                let (k, row) = (at / COLS, at % COLS);
                assert_eq!(found, if row < rows { word(row, k) } else { 0 }, "{rows} {words}: {row} {k}");
            }
        }
    }
}
