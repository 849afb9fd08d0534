//! A matrix whose zeros are left out, on its way to a device.

use crate::{DType, DeviceError, Result};
use bytes::Bytes;
use espalier_shaders::{Floats, FloatsMut, Packed, mask_bytes, split_row};

/// A matrix whose zeros are left out, in the layout of compressed-tensors' `sparse-bitmask`.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    /// The type of its elements.
    pub dtype: DType,
    /// Columns.
    pub cols: usize,
    /// The elements that are kept, row after row, little-endian.
    pub values: Bytes,
    /// A bit for every element, lowest first; every row begins with a byte of its own.
    pub mask: Bytes,
    /// Where every row begins among the values.
    pub offsets: Vec<u64>,
}

impl PackedMatrix {
    /// Takes out the zeros of a matrix of these little-endian elements, but not those that are negative.
    ///
    /// # Panics
    /// The bytes are no whole rows.
    pub fn pack(dtype: DType, cols: usize, bytes: &[u8]) -> Self {
        let (size, row_bytes) = (dtype.size(), cols * dtype.size());
        assert!(bytes.len().is_multiple_of(row_bytes.max(1)), "whole rows");
        let rows = bytes.chunks_exact(row_bytes.max(1));
        let mut values = vec![0; bytes.len()];
        let mut mask = vec![0; rows.len() * mask_bytes(cols)];
        let (mut offsets, mut end) = (Vec::with_capacity(rows.len()), 0);
        for (row, mask) in rows.zip(mask.chunks_exact_mut(mask_bytes(cols).max(1))) {
            offsets.push(end as u64);
            let room = &mut values[end * size..];
            end += match size {
                2 => split_row(row.as_chunks::<2>().0, room.as_chunks_mut::<2>().0, mask),
                _ => split_row(row.as_chunks::<4>().0, room.as_chunks_mut::<4>().0, mask),
            };
        }
        values.truncate(end * size);
        Self { dtype, cols, values: values.into(), mask: mask.into(), offsets }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.offsets.len()
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.values.len() + self.mask.len() + size_of_val(&*self.offsets)
    }

    /// The same, where its parts fit together. Values that are not aligned are copied.
    ///
    /// # Errors
    /// The first row whose parts do not.
    pub fn checked(&self) -> Result<Self> {
        let invalid = |message: String| DeviceError::Invalid { operation: "upload", message };
        if !self.values.as_ptr().addr().is_multiple_of(self.dtype.size()) {
            // The start of an allocation is aligned for all types.
            let aligned = Self { values: Bytes::from_owner(Aligned::copy(&self.values)), ..self.clone() };
            return aligned.checked();
        }
        let masks = self.offsets.len().checked_mul(mask_bytes(self.cols));
        if masks != Some(self.mask.len()) {
            return Err(invalid(format!(
                "{} rows of {} columns have no mask of {} bytes",
                self.offsets.len(),
                self.cols,
                self.mask.len()
            )));
        }
        self.view()?.check().map_err(|error| invalid(error.to_string()))?;
        Ok(self.clone())
    }

    /// What kernels take.
    ///
    /// # Errors
    /// Its elements are not floating-point numbers.
    pub(crate) fn view(&self) -> Result<Packed<'_>> {
        let values = match self.dtype {
            DType::F32 => Floats::F32(cast(&self.values)?),
            DType::F16 => Floats::F16(cast(&self.values)?),
            DType::BF16 => Floats::BF16(cast(&self.values)?),
            DType::U32 => return Err(DeviceError::Unsupported("words are packed".to_owned())),
        };
        Ok(Packed::new(values, &self.mask, &self.offsets, self.cols))
    }

    /// Every element, little-endian; of one that is [checked](Self::checked).
    pub fn expand(&self) -> Bytes {
        let (elements, size) = (self.rows() * self.cols, self.dtype.size());
        let mut words = vec![0u32; (elements * size).div_ceil(4)];
        self.expand_into(&mut bytemuck::cast_slice_mut(&mut words)[..elements * size]);
        Bytes::from_owner(Aligned(words, elements * size))
    }

    /// Puts all elements, little-endian, into `out`; of one that is [checked](Self::checked).
    ///
    /// # Panics
    /// `out` is of another length, or not aligned for the elements.
    pub fn expand_into(&self, out: &mut [u8]) {
        let Ok(packed) = self.view() else { return };
        match self.dtype {
            DType::F32 => packed.expand_all(FloatsMut::F32(bytemuck::cast_slice_mut(out))),
            DType::F16 => packed.expand_all(FloatsMut::F16(bytemuck::cast_slice_mut(out))),
            DType::BF16 => packed.expand_all(FloatsMut::BF16(bytemuck::cast_slice_mut(out))),
            DType::U32 => {}
        }
    }
}

fn cast<T: bytemuck::Pod>(bytes: &[u8]) -> Result<&[T]> {
    bytemuck::try_cast_slice(bytes).map_err(|error| DeviceError::Invalid {
        operation: "upload",
        message: format!("the values are not whole or not aligned: {error}"),
    })
}

/// Bytes in whole words.
struct Aligned(Vec<u32>, usize);

impl Aligned {
    fn copy(bytes: &[u8]) -> Self {
        let mut words = vec![0u32; bytes.len().div_ceil(4)];
        bytemuck::cast_slice_mut::<u32, u8>(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self(words, bytes.len())
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice::<u32, u8>(&self.0)[..self.1]
    }
}
