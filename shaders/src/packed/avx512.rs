//! Elements of two and of four bytes, put between zeros and taken from between them by AVX-512.

use std::arch::x86_64::*;

/// Whether the processor spreads and gathers words by a mask, as the functions here need.
pub(crate) fn expands() -> bool {
    matches!(crate::simd::level(), crate::simd::Level::Avx512)
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("popcnt")
}

/// Elements of a type of so many bytes.
pub(super) trait Lanes {
    /// How many are in a register.
    const COUNT: usize;

    /// The next elements at `from`, of which as many are read as `there` says, where the bits are set, and zeros elsewhere.
    ///
    /// # Safety
    /// The processor [`expands`], the elements can be read, and a register's can be written to `out`.
    unsafe fn expand(bits: u32, from: *const u8, there: u32, out: *mut u8);

    /// Puts the elements of a register's at `from` that are not zero to `out`, no more than `room`, and gives their bits.
    ///
    /// # Safety
    /// The processor [`expands`], a register's elements can be read, and `room` written.
    unsafe fn compress(from: *const u8, out: *mut u8, room: usize) -> u32;

    /// The bits of the elements of a register's at `from` that are not zero.
    ///
    /// # Safety
    /// The processor [`expands`], and they can be read.
    unsafe fn bits(from: *const u8) -> u32;
}

pub(super) struct Two;
pub(super) struct Four;

impl Lanes for Two {
    const COUNT: usize = 32;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
    unsafe fn expand(bits: u32, from: *const u8, there: u32, out: *mut u8) {
        // SAFETY: as the caller promises.
        unsafe {
            let values = _mm512_maskz_loadu_epi16(there, from.cast());
            _mm512_storeu_si512(out.cast(), _mm512_maskz_expand_epi16(bits, values));
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
    unsafe fn compress(from: *const u8, out: *mut u8, room: usize) -> u32 {
        // SAFETY: as the caller promises.
        unsafe {
            let elements = _mm512_loadu_si512(from.cast());
            let bits = _mm512_test_epi16_mask(elements, elements);
            let kept = _mm512_maskz_compress_epi16(bits, elements);
            if room >= Self::COUNT {
                _mm512_storeu_si512(out.cast(), kept);
            } else {
                _mm512_mask_storeu_epi16(out.cast(), first(room), kept);
            }
            bits
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
    unsafe fn bits(from: *const u8) -> u32 {
        // SAFETY: as the caller promises.
        let elements = unsafe { _mm512_loadu_si512(from.cast()) };
        _mm512_test_epi16_mask(elements, elements)
    }
}

impl Lanes for Four {
    const COUNT: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
    unsafe fn expand(bits: u32, from: *const u8, there: u32, out: *mut u8) {
        // SAFETY: as the caller promises.
        unsafe {
            let values = _mm512_maskz_loadu_epi32(there as u16, from.cast());
            _mm512_storeu_si512(out.cast(), _mm512_maskz_expand_epi32(bits as u16, values));
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
    unsafe fn compress(from: *const u8, out: *mut u8, room: usize) -> u32 {
        // SAFETY: as the caller promises.
        unsafe {
            let elements = _mm512_loadu_si512(from.cast());
            let bits = _mm512_test_epi32_mask(elements, elements);
            let kept = _mm512_maskz_compress_epi32(bits, elements);
            if room >= Self::COUNT {
                _mm512_storeu_si512(out.cast(), kept);
            } else {
                _mm512_mask_storeu_epi32(out.cast(), first(room) as u16, kept);
            }
            u32::from(bits)
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
    unsafe fn bits(from: *const u8) -> u32 {
        // SAFETY: as the caller promises.
        let elements = unsafe { _mm512_loadu_si512(from.cast()) };
        u32::from(_mm512_test_epi32_mask(elements, elements))
    }
}

/// A bit for each of the first lanes.
fn first(count: usize) -> u32 {
    if count >= 32 { u32::MAX } else { (1 << count) - 1 }
}

/// Spreads values over the whole registers of `out`, and tells how many elements and how many values those are.
///
/// # Safety
/// The processor [`expands`], and elements of `T` have `L`'s size and any bits.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
pub(super) unsafe fn spread<L: Lanes, T>(mask: &[u8], values: &[T], out: &mut [T]) -> (usize, usize) {
    let (mut next, bytes) = (0, L::COUNT / 8);
    let whole = (out.len() / L::COUNT).min(mask.len() / bytes);
    for (block, mask) in mask.chunks_exact(bytes).enumerate().take(whole) {
        let mut bits = [0; 4];
        bits[..bytes].copy_from_slice(mask);
        let bits = u32::from_le_bytes(bits);
        let rest = &values[next.min(values.len())..];
        // SAFETY: no more values are read than there are, and the block is within `out`.
        unsafe {
            let out = out.as_mut_ptr().add(block * L::COUNT);
            L::expand(bits, rest.as_ptr().cast(), first(rest.len()), out.cast());
        }
        next += bits.count_ones() as usize;
    }
    (whole * L::COUNT, next.min(values.len()))
}

/// Takes the elements that are not zero from the whole registers of `row`, and tells how many elements those are, and how many of
/// them are kept.
///
/// # Safety
/// The processor [`expands`], and elements of `T` have `L`'s size.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
pub(super) unsafe fn split<L: Lanes, T>(row: &[T], values: &mut [T], mask: &mut [u8]) -> (usize, usize) {
    let (mut next, bytes) = (0, L::COUNT / 8);
    let whole = row.len() / L::COUNT;
    for (row, mask) in row.chunks_exact(L::COUNT).zip(mask.chunks_exact_mut(bytes)) {
        let room = values.len().saturating_sub(next);
        // SAFETY: the block is within `row`, and no more is written than there is room for.
        let bits =
            unsafe { L::compress(row.as_ptr().cast(), values.as_mut_ptr().wrapping_add(next).cast(), room) };
        mask.copy_from_slice(&bits.to_le_bytes()[..bytes]);
        next += bits.count_ones() as usize;
    }
    (whole * L::COUNT, next)
}

/// How many elements of the whole registers of `row` are not zero, and how many elements those are.
///
/// # Safety
/// The processor [`expands`], and elements of `T` have `L`'s size.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
pub(super) unsafe fn count<L: Lanes, T>(row: &[T]) -> (usize, usize) {
    let whole = row.chunks_exact(L::COUNT);
    let elements = whole.len() * L::COUNT;
    // SAFETY: the block is within `row`.
    let kept = whole.fold(0, |sum, row| sum + unsafe { L::bits(row.as_ptr().cast()) }.count_ones() as usize);
    (elements, kept)
}
