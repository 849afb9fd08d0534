//! Rows laid out as panels: words of several rows side by side, and matrices transposed, sixteen rows by sixteen words at a
//! time in registers.

use std::arch::x86_64::*;

use super::{CHUNK, COLS, LANES};
use crate::Floats;

/// What is read as a word: a word as it is, or a half-precision number that is widened.
const WORD: u8 = 0;
const F16: u8 = 1;
const BF16: u8 = 2;

/// Up to [`COLS`] rows of words, or of elements that become words.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    elements: Floats<'a>,
    stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows that start `stride` elements apart.
    pub(crate) fn new(elements: Floats<'a>, stride: usize) -> Self {
        Self { elements, stride }
    }

    /// Transposes so many words from the start of so many rows: word `k` of row `r` goes to `k · to_stride + r`, widened to f32.
    /// Sixteen rows are written at a time, of which the last may be zeros, unless `exact`.
    ///
    /// # Safety
    /// The processor has AVX-512; `to` has as many words as are written, and nothing else uses them.
    pub(crate) unsafe fn transpose(
        self,
        (rows, words): (usize, usize),
        to: *mut u32,
        to_stride: usize,
        exact: bool,
    ) {
        if rows == 0 || words == 0 {
            return;
        }
        let size = (rows, words);
        let last = (rows - 1) * self.stride + words;
        assert!(last <= self.elements.len(), "the rows are inside the matrix");
        // SAFETY: as the caller promises; the rows are inside the matrix, as asserted.
        unsafe {
            match self.elements {
                Floats::F32(x) => {
                    transpose::<WORD>(x.as_ptr().cast(), 4 * self.stride, size, to, to_stride, exact)
                }
                Floats::F16(x) => {
                    transpose::<F16>(x.as_ptr().cast(), 2 * self.stride, size, to, to_stride, exact)
                }
                Floats::BF16(x) => {
                    transpose::<BF16>(x.as_ptr().cast(), 2 * self.stride, size, to, to_stride, exact)
                }
            }
        }
    }
}

/// Packs up to [`COLS`] rows that have to be rounded or paired first: `fill` puts words of a row, from the one given on, into a
/// slice. Word `k` of row `r` goes to `k · COLS + r`.
///
/// # Safety
/// The processor has AVX-512.
pub(crate) unsafe fn pack_filled(
    rows: usize,
    mut fill: impl FnMut(usize, usize, &mut [u32]),
    panel: &mut [u32],
) {
    let mut lines = [0u32; CHUNK * COLS];
    for (chunk, panel) in panel.chunks_mut(CHUNK * COLS).enumerate() {
        let words = panel.len() / COLS;
        for (row, line) in lines.chunks_exact_mut(CHUNK).enumerate().take(rows) {
            fill(row, chunk * CHUNK, &mut line[..words]);
        }
        let rows = rows.min(COLS);
        let from = lines.as_ptr().cast();
        // SAFETY: the rows are in `lines`, and a panel takes all columns of its words.
        unsafe { transpose::<WORD>(from, 4 * CHUNK, (rows, words), panel.as_mut_ptr(), COLS, false) };
    }
}

/// Copies so many words of rows that lie `stride` apart side by side, [`COLS`] apart: a panel whose words are columns already.
pub(crate) fn copy(from: &[u32], stride: usize, cols: usize, panel: &mut [u32]) {
    for (from, to) in from.chunks(stride).zip(panel.as_chunks_mut::<COLS>().0) {
        match from.first_chunk::<COLS>() {
            Some(whole) if cols == COLS => *to = *whole,
            _ => {
                to[..cols].copy_from_slice(&from[..cols]);
                to[cols..].fill(0);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn transpose<const KIND: u8>(
    from: *const u8,
    stride: usize,
    (rows, words): (usize, usize),
    to: *mut u32,
    to_stride: usize,
    exact: bool,
) {
    let size = if KIND == WORD { 4 } else { 2 };
    for first_row in (0..rows).step_by(LANES) {
        let count = LANES.min(rows - first_row);
        let written = if exact { mask(count) } else { u16::MAX };
        for first_word in (0..words).step_by(LANES) {
            let here = LANES.min(words - first_word);
            let mut lines = [_mm512_setzero_si512(); LANES];
            // SAFETY: the mask leaves words of these rows, as the caller vouches for.
            unsafe {
                let from = from.add(first_row * stride + first_word * size);
                for (row, line) in lines.iter_mut().enumerate().take(count) {
                    *line = load::<KIND>(from.add(row * stride), mask(here));
                }
                let lines = transposed(lines);
                let to = to.add(first_word * to_stride + first_row);
                for (word, line) in lines.into_iter().enumerate().take(here) {
                    _mm512_mask_storeu_epi32(to.add(word * to_stride).cast(), written, line);
                }
            }
        }
    }
}

/// The first so many of sixteen.
pub(super) fn mask(count: usize) -> __mmask16 {
    ((1u32 << count.min(LANES)) - 1) as __mmask16
}

/// Up to sixteen words, of which the mask leaves the first, and zeros.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load<const KIND: u8>(from: *const u8, mask: __mmask16) -> __m512i {
    // SAFETY: as the caller promises.
    unsafe {
        if KIND == WORD {
            return _mm512_maskz_loadu_epi32(mask, from.cast());
        }
        let halves = if mask == u16::MAX {
            _mm256_loadu_si256(from.cast())
        } else {
            let mut few = [0u16; LANES];
            std::ptr::copy_nonoverlapping(from.cast(), few.as_mut_ptr(), mask.count_ones() as usize);
            _mm256_loadu_si256(few.as_ptr().cast())
        };
        if KIND == F16 {
            _mm512_castps_si512(_mm512_cvtph_ps(halves))
        } else {
            _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))
        }
    }
}

/// The columns of sixteen rows of sixteen words.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let (mut pairs, mut fours, mut out) = (rows, rows, rows);
    for i in (0..LANES).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    // In every quarter of a vector, words 0, 1, 2 and 3 of four rows.
    for i in (0..LANES).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    for i in 0..4 {
        let (a, b, c, d) = (fours[i], fours[i + 4], fours[i + 8], fours[i + 12]);
        // Quarters 0 and 2, and 1 and 3, of two vectors each.
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        out[i] = _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even);
        out[i + 4] = _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd);
        out[i + 8] = _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even);
        out[i + 12] = _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn matrices_are_transposed_in_every_type() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        for (rows, words, stride) in
            [(1, 1, 1), (16, 16, 16), (3, 70, 75), (64, 33, 40), (31, 130, 130), (50, 5, 9)]
        {
            let number = |row: usize, word: usize| ((row * 31 + word * 7) % 256) as f32;
            let of = |at: usize| number(at / stride, at % stride);
            let count = (rows - 1) * stride + words;
            let words_of: Vec<f32> = (0..count).map(of).collect();
            let f16s: Vec<f16> = words_of.iter().map(|x| f16::from_f32(*x)).collect();
            let bf16s: Vec<bf16> = words_of.iter().map(|x| bf16::from_f32(*x)).collect();
            for from in [Floats::F32(&words_of), Floats::F16(&f16s), Floats::BF16(&bf16s)] {
                for exact in [false, true] {
                    let to_stride = if exact { rows + 1 } else { rows.next_multiple_of(LANES) };
                    let mut to = vec![9.5f32; words * to_stride];
                    // SAFETY: the instructions were looked for, and `to` is as large as said.
                    unsafe {
                        Rows::new(from, stride).transpose(
                            (rows, words),
                            to.as_mut_ptr().cast(),
                            to_stride,
                            exact,
                        );
                    }
                    for (at, found) in to.into_iter().enumerate() {
                        let (word, row) = (at / to_stride, at % to_stride);
                        let beyond = if exact { 9.5 } else { 0.0 };
                        let expected = if row < rows { number(row, word) } else { beyond };
                        assert_eq!(found, expected, "{rows} {words}: {row} {word}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_are_filled_and_copied_in_panels() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        let word = |row: usize, k: usize| (1000 * row + k) as u32;
        for (rows, words) in [(1, 4), (3, 60), (64, 64), (31, 132), (5, 200)] {
            let (mut filled, mut copied) = (vec![u32::MAX; words * COLS], vec![u32::MAX; words * COLS]);
            let fill = |row: usize, first: usize, out: &mut [u32]| {
                out.iter_mut().enumerate().for_each(|(k, out)| *out = word(row, first + k));
            };
            // SAFETY: the instructions were looked for.
            unsafe { pack_filled(rows, fill, &mut filled) };
            let stride = rows + 3;
            let columns: Vec<u32> = (0..words * stride).map(|at| word(at % stride, at / stride)).collect();
            copy(&columns, stride, rows, &mut copied);
            for at in 0..words * COLS {
                let (k, row) = (at / COLS, at % COLS);
                if row < rows {
                    assert_eq!(filled[at], word(row, k), "{rows} {words}: {row} {k}");
                }
                assert_eq!(
                    copied[at],
                    if row < rows { word(row, k) } else { 0 },
                    "{rows} {words}: {row} {k}"
                );
            }
        }
    }
}
