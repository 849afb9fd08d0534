//! A matrix whose zeros are left out, on its way to a device.

use crate::{DType, DeviceError, Result};
use bytes::Bytes;
use espalier_shaders::{Floats, FloatsMut, Packed, mask_bytes};

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
    pub fn expand(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.rows() * self.cols * self.dtype.size()];
        self.expand_rows(0..self.rows(), &mut bytes);
        bytes
    }

    /// The elements of some rows, little-endian; of one that is [checked](Self::checked).
    ///
    /// # Panics
    /// There are no such rows, or `out` is of another length.
    pub fn expand_rows(&self, rows: std::ops::Range<usize>, out: &mut [u8]) {
        let Ok(packed) = self.view() else { return out.fill(0) };
        let words = out.len().div_ceil(4);
        let mut buffer = vec![0u32; words];
        let bytes = &mut bytemuck::cast_slice_mut::<u32, u8>(&mut buffer)[..out.len()];
        let floats = match self.dtype {
            DType::F32 => FloatsMut::F32(bytemuck::cast_slice_mut(bytes)),
            DType::F16 => FloatsMut::F16(bytemuck::cast_slice_mut(bytes)),
            DType::BF16 | DType::U32 => FloatsMut::BF16(bytemuck::cast_slice_mut(bytes)),
        };
        packed.expand(rows, floats);
        out.copy_from_slice(bytes);
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
