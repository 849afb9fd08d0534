//! Products with AVX-512: a vector has all the sums of a row and a token.

use std::arch::x86_64::*;

use super::{BLOCK, Floats};
use crate::{
    Packed,
    simd::{LANES, pairwise},
};

/// Weights of a row that lie so far ahead are asked for: further than the processor looks by itself, past the end of a page.
const AHEAD_BYTES: usize = 1024;

/// As [`super::dots`].
///
/// # Safety
/// The processor has AVX-512 (F, BW, DQ, VL), and every x is as long as a row, in whole blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn dots<const R: usize, const T: usize>(w: Floats, x: [&[f32]; T]) -> [[f32; T]; R] {
    let inputs = w.len() / R;
    // SAFETY: rows of so many elements, and x as the caller promises.
    unsafe {
        match w {
            Floats::F32(w) => dense::<F32, R, T>(w.as_ptr().cast(), inputs, x),
            Floats::F16(w) => dense::<F16, R, T>(w.as_ptr().cast(), inputs, x),
            Floats::BF16(w) => dense::<BF16, R, T>(w.as_ptr().cast(), inputs, x),
        }
    }
}

/// A type of weights.
trait Element {
    /// Bytes.
    const SIZE: usize;

    /// A block of weights, widened, in halves.
    ///
    /// # Safety
    /// The processor has AVX-512 (F, BW), and the weights at `at` that the mask wants are there; others are 0.
    unsafe fn load(at: *const u8, mask: u32) -> [__m512; 2];
}

struct F32;
struct F16;
struct BF16;

impl Element for F32 {
    const SIZE: usize = 4;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn load(at: *const u8, mask: u32) -> [__m512; 2] {
        let at: *const f32 = at.cast();
        // SAFETY: as the caller promises.
        unsafe {
            [
                _mm512_maskz_loadu_ps(mask as u16, at),
                _mm512_maskz_loadu_ps((mask >> LANES) as u16, at.wrapping_add(LANES)),
            ]
        }
    }
}

impl Element for F16 {
    const SIZE: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn load(at: *const u8, mask: u32) -> [__m512; 2] {
        // SAFETY: as the caller promises.
        widen_f16(unsafe { _mm512_maskz_loadu_epi16(mask, at.cast()) })
    }
}

impl Element for BF16 {
    const SIZE: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn load(at: *const u8, mask: u32) -> [__m512; 2] {
        // SAFETY: as the caller promises.
        widen_bf16(unsafe { _mm512_maskz_loadu_epi16(mask, at.cast()) })
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widen_f16(block: __m512i) -> [__m512; 2] {
    [_mm512_cvtph_ps(_mm512_castsi512_si256(block)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(block))]
}

/// Those at even places, then those at odd ones.
#[inline]
#[target_feature(enable = "avx512f")]
fn widen_bf16(block: __m512i) -> [__m512; 2] {
    [
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(block)),
        _mm512_castsi512_ps(_mm512_and_si512(block, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()))),
    ]
}

/// The mask of a block of which so many weights are there.
fn first(weights: usize) -> u32 {
    if weights >= BLOCK { u32::MAX } else { (1 << weights) - 1 }
}

/// # Safety
/// The processor has AVX-512; w has `R` rows of `inputs` weights of this type, and every x as many, in whole blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn dense<E: Element, const R: usize, const T: usize>(
    w: *const u8,
    inputs: usize,
    x: [&[f32]; T],
) -> [[f32; T]; R] {
    let mut sums = [[_mm512_setzero_ps(); T]; R];
    let (row_bytes, block_bytes) = (inputs * E::SIZE, BLOCK * E::SIZE);
    let whole = inputs / BLOCK;
    for block in 0..whole {
        let at = block * block_bytes;
        // Behind the end of these rows are those that come next.
        let mut ahead = at + AHEAD_BYTES;
        if ahead >= row_bytes {
            ahead += (R - 1) * row_bytes;
        }
        // SAFETY: a whole block of every row; asking for an address ahead reads nothing.
        unsafe { add_block::<E, R, T>(w, row_bytes, at, ahead, u32::MAX, x, block, &mut sums) };
    }
    if inputs > whole * BLOCK {
        let (at, mask) = (whole * block_bytes, first(inputs - whole * BLOCK));
        // SAFETY: the mask has what is left of the rows.
        unsafe { add_block::<E, R, T>(w, row_bytes, at, at, mask, x, whole, &mut sums) };
    }
    sums.map(|sums| sums.map(|sums| total(sums)))
}

/// # Safety
/// As [`dense`]; the mask has no weight that is not there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn add_block<E: Element, const R: usize, const T: usize>(
    w: *const u8,
    row_bytes: usize,
    at: usize,
    ahead: usize,
    mask: u32,
    x: [&[f32]; T],
    block: usize,
    sums: &mut [[__m512; T]; R],
) {
    // SAFETY: every x has this block.
    let x = unsafe { inputs(x, block) };
    for (row, sums) in sums.iter_mut().enumerate() {
        let w = w.wrapping_add(row * row_bytes);
        for line in (0..BLOCK * E::SIZE).step_by(64) {
            _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(ahead + line).cast());
        }
        // SAFETY: as the caller promises.
        let [low, high] = unsafe { E::load(w.wrapping_add(at), mask) };
        add([low, high], &x, sums);
    }
}

/// The halves of a block of inputs of every row. In loops over what is in registers `map` is no help: it is a call, because its own
/// code has none of these instructions.
///
/// # Safety
/// The processor has AVX-512, and every x has this block.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn inputs<const T: usize>(x: [&[f32]; T], block: usize) -> [[__m512; 2]; T] {
    let mut blocks = [[_mm512_setzero_ps(); 2]; T];
    for (halves, x) in blocks.iter_mut().zip(x) {
        debug_assert!((block + 1) * BLOCK <= x.len());
        // SAFETY: as the caller promises.
        unsafe {
            let x = x.as_ptr().add(block * BLOCK);
            *halves = [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(LANES))];
        }
    }
    blocks
}

#[inline]
#[target_feature(enable = "avx512f")]
fn total(sums: __m512) -> f32 {
    let mut lanes = [0.0; LANES];
    // SAFETY: so many lanes are written.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sums) };
    pairwise(&mut lanes)
}

/// `R` rows without their zeros times `T` rows of inputs. Rows that follow these are asked for: where each of them is the next of a
/// run of rows, memory is read along `R` ways.
///
/// # Safety
/// The processor [`expands`](crate::packed::avx512::expands), and every x is as long as a row, in whole blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512vbmi2,popcnt")]
pub(super) unsafe fn packed_dots<const R: usize, const T: usize>(
    w: Packed,
    rows: [usize; R],
    x: [&[f32]; T],
) -> [[f32; T]; R] {
    let rows = rows.map(|row| w.row(row));
    // SAFETY: x as the caller promises; `load` reads the values that it is told are there.
    unsafe {
        match w.values() {
            Floats::F32(values) => spread(values, rows, x, |at: *const f32, kept, there| {
                let low = kept as u16;
                let second = low.count_ones();
                let a = _mm512_maskz_loadu_ps(there as u16, at);
                let rest = there.unbounded_shr(second) as u16;
                let b = _mm512_maskz_loadu_ps(rest, at.wrapping_add(second as usize));
                [_mm512_maskz_expand_ps(low, a), _mm512_maskz_expand_ps((kept >> LANES) as u16, b)]
            }),
            Floats::F16(values) => spread(values, rows, x, |at, kept, there| {
                widen_f16(_mm512_maskz_expand_epi16(kept, _mm512_maskz_loadu_epi16(there, at.cast())))
            }),
            Floats::BF16(values) => spread(values, rows, x, |at, kept, there| {
                widen_bf16(_mm512_maskz_expand_epi16(kept, _mm512_maskz_loadu_epi16(there, at.cast())))
            }),
        }
    }
}

/// Values of a row that lie so far ahead are asked for.
const VALUES_AHEAD_BYTES: usize = 1024;

/// Bytes of the mask of two blocks.
const PAIR: usize = 2 * BLOCK / 8;

/// The products of rows of values, each with a mask and where it begins, with inputs. `load` is given where the next values are,
/// which of the block's weights are kept, and which of the next [`BLOCK`] values are there to read; it gives back the block,
/// widened, in halves.
///
/// # Safety
/// The processor has the instructions, and every x a block for every 32 bits of a mask, which are of one length.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512vbmi2,popcnt")]
unsafe fn spread<V, const R: usize, const T: usize>(
    values: &[V],
    rows: [(&[u8], usize); R],
    x: [&[f32]; T],
    load: impl Fn(*const V, u32, u32) -> [__m512; 2],
) -> [[f32; T]; R] {
    let mut sums = [[_mm512_setzero_ps(); T]; R];
    let mut starts = rows.map(|(_, start)| start);
    let (pairs, blocks) = (rows[0].0.len() / PAIR, rows[0].0.len().div_ceil(BLOCK / 8));
    assert!(rows.iter().all(|(mask, _)| mask.len() == rows[0].0.len()), "masks of one length");
    // Where as many values are there as the row has weights, all of every block can be read, whatever the mask says.
    let whole = if starts.iter().all(|start| values.len() - start >= blocks * BLOCK) { pairs } else { 0 };
    for pair in 0..whole {
        // SAFETY: every x has these blocks.
        let x = unsafe { [inputs(x, 2 * pair), inputs(x, 2 * pair + 1)] };
        for (((mask, _), sums), start) in rows.iter().zip(&mut sums).zip(&mut starts) {
            let place = values.as_ptr().wrapping_add(*start);
            _mm_prefetch::<_MM_HINT_T0>(place.cast::<u8>().wrapping_add(VALUES_AHEAD_BYTES).cast());
            let bits = u64::from_le_bytes(mask.as_chunks::<PAIR>().0[pair]);
            let kept = [bits as u32, (bits >> BLOCK) as u32];
            let places = [place, place.wrapping_add(kept[0].count_ones() as usize)];
            *start += bits.count_ones() as usize;
            add(load(places[0], kept[0], u32::MAX), &x[0], sums);
            add(load(places[1], kept[1], u32::MAX), &x[1], sums);
        }
    }
    for block in 2 * whole..blocks {
        // SAFETY: as above.
        let x = unsafe { inputs(x, block) };
        for (((mask, _), sums), start) in rows.iter().zip(&mut sums).zip(&mut starts) {
            let mut bits = [0; BLOCK / 8];
            let here = &mask[block * bits.len()..];
            let here = &here[..here.len().min(bits.len())];
            bits[..here.len()].copy_from_slice(here);
            let kept = u32::from_le_bytes(bits);
            // Whatever the mask says, no value is read that is not there.
            let there = first(values.len().saturating_sub(*start));
            add(load(values.as_ptr().wrapping_add(*start), kept, there), &x, sums);
            *start += kept.count_ones() as usize;
        }
    }
    sums.map(|sums| sums.map(|sums| total(sums)))
}

/// Adds the products of a block of weights with that of every row of inputs.
#[inline]
#[target_feature(enable = "avx512f")]
fn add<const T: usize>([low, high]: [__m512; 2], x: &[[__m512; 2]; T], sums: &mut [__m512; T]) {
    for (sum, [x_low, x_high]) in sums.iter_mut().zip(x) {
        *sum = _mm512_fmadd_ps(high, *x_high, _mm512_fmadd_ps(low, *x_low, *sum));
    }
}
