//! The type that products with weights take their operands in.

use std::{fmt, str::FromStr};

use half::{f16, slice::HalfFloatSliceExt};

use crate::{Floats, simd::multiversion};

/// The type that products with weights round their operands to, weights and activations alike. Sums are f32 in
/// any case, and so are all other operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compute {
    /// As they are: weights are widened to f32, which is exact.
    #[default]
    F32,
    /// IEEE 754 half precision. What is greater than 65,504 overflows.
    F16,
    /// The upper half of a single-precision number.
    BF16,
}

/// Whether this processor multiplies pairs of bf16 faster than it multiplies f32. Intel's AVX-512 does not: on a Xeon of the
/// fifth generation (family 6, model 207) pairs of bf16 reach 0.6 of the rate of f32, where AMD's Zen 5 reaches twice as much.
/// Where it does not, operands are rounded to bf16 and multiplied as f32, whose sums are no less exact.
#[cfg(target_arch = "x86_64")]
pub fn multiplies_bf16() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    let is_intel =
        [vendor.ebx, vendor.edx, vendor.ecx] == [*b"Genu", *b"ineI", *b"ntel"].map(u32::from_le_bytes);
    is_x86_feature_detected!("avx512bf16") && !is_intel
}

/// Whether this processor multiplies pairs of bf16 faster than it multiplies f32.
#[cfg(not(target_arch = "x86_64"))]
pub fn multiplies_bf16() -> bool {
    false
}

/// A text that names no type to compute in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseComputeError(String);

impl Compute {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// Whether rounding leaves these elements as they are, of whatever value.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn holds(self, elements: Floats<'_>) -> bool {
        match self {
            Self::F32 => true,
            Self::F16 => matches!(elements, Floats::F16(_)),
            Self::BF16 => matches!(elements, Floats::BF16(_)),
        }
    }

    /// Rounds elements to this type, to nearest with ties to even.
    pub fn round(self, x: &mut [f32]) {
        match self {
            Self::F32 => {}
            Self::F16 => {
                let mut half = [f16::ZERO; 256];
                for x in x.chunks_mut(half.len()) {
                    let half = &mut half[..x.len()];
                    half.convert_from_f32_slice(x);
                    half.convert_to_f32_slice(x);
                }
            }
            Self::BF16 => round_bf16(x),
        }
    }
}

multiversion! {
    fn round_bf16(x: &mut [f32]) {
        for x in x {
            *x = f32::from_bits(u32::from(to_bf16(*x)) << 16);
        }
    }
}

/// A number's bits as bf16, to nearest with ties to even, in a form that vectorises: `half` converts one by one,
/// with branches.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let even = (bits >> 16) & 1;
    let rounded = bits.wrapping_add(0x7fff + even) >> 16;
    // Rounding could carry a NaN over into infinity or zero: it keeps its upper half and stays quiet.
    let nan = (bits >> 16) | 0x40;
    if bits & 0x7fff_ffff > 0x7f80_0000 { nan as u16 } else { rounded as u16 }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        })
    }
}

impl FromStr for Compute {
    type Err = ParseComputeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|compute| compute.to_string() == text)
            .ok_or_else(|| ParseComputeError(text.to_owned()))
    }
}

impl fmt::Display for ParseComputeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no type to compute in: choose f32, f16 or bf16", self.0)
    }
}

impl std::error::Error for ParseComputeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn operands_are_rounded_as_half_does() {
        for high in (0..=u16::MAX).step_by(7) {
            for low in [0u32, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits((u32::from(high) << 16) | low);
                let mut rounded = [x];
                Compute::F16.round(&mut rounded);
                assert_eq!(rounded[0].is_nan(), x.is_nan());
                assert!(x.is_nan() || rounded[0] == f16::from_f32(x).to_f32(), "{x:e}");
                let mut rounded = [x];
                Compute::BF16.round(&mut rounded);
                assert!(x.is_nan() || rounded[0] == bf16::from_f32(x).to_f32(), "{x:e}");
                let mut rounded = [x];
                Compute::F32.round(&mut rounded);
                assert_eq!(rounded[0].to_bits(), x.to_bits());
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for compute in Compute::ALL {
            assert_eq!(compute.to_string().parse(), Ok(compute));
        }
        assert!("f64".parse::<Compute>().is_err());
    }
}
