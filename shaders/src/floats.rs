//! Slices of floating-point elements in the types that checkpoints have.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::{compute::to_bf16, simd::multiversion};

/// Elements to read, in any of the types of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub enum Floats<'a> {
    /// IEEE 754 single precision.
    F32(&'a [f32]),
    /// IEEE 754 half precision.
    F16(&'a [f16]),
    /// The upper half of a single-precision number.
    BF16(&'a [bf16]),
}

/// Elements to write, in any of the types of a checkpoint.
#[derive(Debug)]
pub enum FloatsMut<'a> {
    /// IEEE 754 single precision.
    F32(&'a mut [f32]),
    /// IEEE 754 half precision.
    F16(&'a mut [f16]),
    /// The upper half of a single-precision number.
    BF16(&'a mut [bf16]),
}

impl<'a> Floats<'a> {
    /// How many elements there are.
    pub fn len(self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F16(x) => x.len(),
            Self::BF16(x) => x.len(),
        }
    }

    /// Whether the collection is empty.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Some of the elements.
    ///
    /// # Panics
    /// The range reaches past the end.
    pub fn slice(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::F32(x) => Self::F32(&x[range]),
            Self::F16(x) => Self::F16(&x[range]),
            Self::BF16(x) => Self::BF16(&x[range]),
        }
    }

    /// Writes the elements as f32; exact.
    ///
    /// # Panics
    /// `out` is of another length.
    pub fn widen(self, out: &mut [f32]) {
        match self {
            Self::F32(x) => out.copy_from_slice(x),
            Self::F16(x) => x.convert_to_f32_slice(out),
            Self::BF16(x) => widen_bf16(bytemuck::cast_slice(x), out),
        }
    }

    /// The elements as f32.
    pub fn to_vec(self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.widen(&mut out);
        out
    }
}

impl FloatsMut<'_> {
    /// Rounds f32 elements to this type, to nearest with ties to even.
    ///
    /// # Panics
    /// `x` is of another length.
    pub fn narrow(&mut self, x: &[f32]) {
        match self {
            Self::F32(out) => out.copy_from_slice(x),
            Self::F16(out) => out.convert_from_f32_slice(x),
            Self::BF16(out) => narrow_bf16(x, bytemuck::cast_slice_mut(out)),
        }
    }
}

multiversion! {
    fn widen_bf16(x: &[u16], out: &mut [f32]) {
        assert_eq!(x.len(), out.len(), "as many elements in as out");
        for (x, out) in x.iter().zip(out) {
            *out = f32::from_bits(u32::from(*x) << 16);
        }
    }
}

multiversion! {
    fn narrow_bf16(x: &[f32], out: &mut [u16]) {
        assert_eq!(x.len(), out.len(), "as many elements in as out");
        for (x, out) in x.iter().zip(out) {
            *out = to_bf16(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_as_half_does() {
        for high in 0..=u16::MAX {
            for low in [0u32, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits((u32::from(high) << 16) | low);
                let mut out = [0];
                narrow_bf16(&[x], &mut out);
                assert_eq!(out[0], bf16::from_f32(x).to_bits(), "{x:e}");
            }
        }
    }

    #[test]
    fn widening_is_exact() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let x: &[bf16] = bytemuck::cast_slice(&all);
        for (x, wide) in x.iter().zip(Floats::BF16(x).to_vec()) {
            assert!(x.to_f32() == wide || x.is_nan() && wide.is_nan());
        }
        let x: &[f16] = bytemuck::cast_slice(&all);
        for (x, wide) in x.iter().zip(Floats::F16(x).to_vec()) {
            assert!(x.to_f32() == wide || x.is_nan() && wide.is_nan());
        }
    }
}
