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
    let x = x.map(|x| unsafe { inputs(x, block) });
    for (row, sums) in sums.iter_mut().enumerate() {
        let w = w.wrapping_add(row * row_bytes);
        for line in (0..BLOCK * E::SIZE).step_by(64) {
            _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(ahead + line).cast());
        }
        // SAFETY: as the caller promises.
        let [low, high] = unsafe { E::load(w.wrapping_add(at), mask) };
        for (sum, [x_low, x_high]) in sums.iter_mut().zip(x) {
            *sum = _mm512_fmadd_ps(high, x_high, _mm512_fmadd_ps(low, x_low, *sum));
        }
    }
}

/// The halves of a block of inputs.
///
/// # Safety
/// The processor has AVX-512, and x has this block.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn inputs(x: &[f32], block: usize) -> [__m512; 2] {
    debug_assert!((block + 1) * BLOCK <= x.len());
    // SAFETY: as the caller promises.
    unsafe {
        let x = x.as_ptr().add(block * BLOCK);
        [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(LANES))]
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn total(sums: __m512) -> f32 {
    let mut lanes = [0.0; LANES];
    // SAFETY: so many lanes are written.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sums) };
    pairwise(&mut lanes)
}

/// Whether the processor spreads words by a mask, which [`packed_dots`] needs.
pub(super) fn expands() -> bool {
    matches!(crate::simd::level(), crate::simd::Level::Avx512)
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("popcnt")
}

/// A row without its zeros times `T` rows of inputs.
///
/// # Safety
/// The processor [expands](expands), and every x is as long as a row, in whole blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512vbmi2,popcnt")]
pub(super) unsafe fn packed_dots<const T: usize>(w: Packed, row: usize, x: [&[f32]; T]) -> [f32; T] {
    let (mask, start) = w.row(row);
    // SAFETY: the values from where the row begins to the end of all, and x as the caller promises.
    unsafe {
        match w.values() {
            Floats::F32(values) => {
                let load = |at: *const f32, kept: u32, there: u32| {
                    let low = kept as u16;
                    let second = low.count_ones() as usize;
                    let a = _mm512_maskz_loadu_ps(there as u16, at);
                    let b = _mm512_maskz_loadu_ps(
                        (there.unbounded_shr(second as u32)) as u16,
                        at.wrapping_add(second),
                    );
                    [_mm512_maskz_expand_ps(low, a), _mm512_maskz_expand_ps((kept >> LANES) as u16, b)]
                };
                spread(&values[start..], mask, x, load)
            }
            Floats::F16(values) => spread(&values[start..], mask, x, |at, kept, there| {
                widen_f16(_mm512_maskz_expand_epi16(kept, _mm512_maskz_loadu_epi16(there, at.cast())))
            }),
            Floats::BF16(values) => spread(&values[start..], mask, x, |at, kept, there| {
                widen_bf16(_mm512_maskz_expand_epi16(kept, _mm512_maskz_loadu_epi16(there, at.cast())))
            }),
        }
    }
}

/// Values that lie so far ahead are asked for.
const VALUES_AHEAD_BYTES: usize = 2048;

/// The products of values, spread by a mask, with inputs. `load` is given where the next values are, which of the block's weights
/// are kept, and which of the next [`BLOCK`] values are there to read; it gives back the block, widened, in halves.
///
/// # Safety
/// The processor has the instructions, and every x a block for every 32 bits of the mask.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512vbmi2,popcnt")]
unsafe fn spread<V, const T: usize>(
    values: &[V],
    mask: &[u8],
    x: [&[f32]; T],
    load: impl Fn(*const V, u32, u32) -> [__m512; 2],
) -> [f32; T] {
    let mut sums = [_mm512_setzero_ps(); T];
    let mut at = 0;
    let mut add = |kept: u32, block: usize| {
        let place = values.as_ptr().wrapping_add(at);
        // SAFETY: every x has this block.
        let x = x.map(|x| unsafe { inputs(x, block) });
        // Whatever the mask says, no value is read that is not there.
        let there =
            if values.len() >= at + BLOCK { u32::MAX } else { first(values.len().saturating_sub(at)) };
        let [low, high] = load(place, kept, there);
        at += kept.count_ones() as usize;
        for (sum, [x_low, x_high]) in sums.iter_mut().zip(x) {
            *sum = _mm512_fmadd_ps(high, x_high, _mm512_fmadd_ps(low, x_low, *sum));
        }
        _mm_prefetch::<_MM_HINT_T0>(place.cast::<u8>().wrapping_add(VALUES_AHEAD_BYTES).cast());
    };
    let (blocks, rest) = mask.as_chunks::<{ BLOCK / 8 }>();
    for (block, bits) in blocks.iter().enumerate() {
        add(u32::from_le_bytes(*bits), block);
    }
    if !rest.is_empty() {
        let mut bits = [0; BLOCK / 8];
        bits[..rest.len()].copy_from_slice(rest);
        add(u32::from_le_bytes(bits), blocks.len());
    }
    sums.map(|sums| total(sums))
}
