//! A tensor's elements in host memory.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use espalier_shaders::{Floats, FloatsMut, Weights};
use rayon::prelude::*;

use super::words::{Spare, Words, whole};
use crate::{DType, DeviceError, PackedMatrix, Result, Storage, Tensor, budget::Budget};

/// How much memory a device's tensors hold, and what is kept for the next ones: never more than they held together before.
#[derive(Debug, Default)]
pub(super) struct Meter {
    held: AtomicU64,
    peak: AtomicU64,
    budget: Budget,
    spare: Spare,
}

impl Meter {
    /// Counts so many bytes, whose words are still to come.
    fn reserve(&self, bytes: usize) -> Result<()> {
        self.budget.check("a tensor", bytes as u64, self.held.load(Ordering::Relaxed))?;
        let bytes = whole(bytes) as u64;
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    /// These bytes are not held any more; their words may serve again.
    fn release(&self, bytes: usize, words: Words) {
        self.held.fetch_sub(whole(bytes) as u64, Ordering::Relaxed);
        self.spare.keep(words);
        self.trim();
    }

    /// Words for bytes that are reserved: zeros.
    fn zeros(&self, bytes: usize) -> Result<Words> {
        if let Some(mut words) = self.spare.take(bytes) {
            words.par_chunks_mut(1 << 16).for_each(|part| part.fill(0));
            return Ok(words);
        }
        self.fresh(bytes)
    }

    /// Words for bytes that are reserved: zeros that take no memory until they are touched.
    fn fresh(&self, bytes: usize) -> Result<Words> {
        self.trim();
        let full = || DeviceError::OutOfMemory { what: "a tensor".to_owned(), bytes: bytes as u64 };
        Words::zeros(bytes).ok_or_else(full)
    }

    /// Words for bytes that are reserved, to be written over.
    fn anything(&self, bytes: usize) -> Result<Words> {
        self.spare.take(bytes).map_or_else(|| self.fresh(bytes), Ok)
    }

    /// Reserves words to be written over.
    fn reserve_words(&self, bytes: usize) -> Result<Words> {
        self.reserve(bytes)?;
        self.anything(bytes).inspect_err(|_| self.release(bytes, Words::default()))
    }

    /// Keeps no more than was held together with what is held now.
    fn trim(&self) {
        self.spare.trim(self.peak().saturating_sub(self.held.load(Ordering::Relaxed)));
    }

    pub(super) fn set_budget(&self, bytes: Option<u64>) {
        self.budget.set(bytes);
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// A tensor's elements in host memory: shared with the uploader, usually a mapped checkpoint,
/// until they are written to; then, or from the start, the tensor's own.
#[derive(Debug)]
pub struct Memory {
    content: TensorContent,
    bytes: usize,
    meter: Arc<Meter>,
}

#[derive(Debug)]
enum TensorContent {
    Shared(Bytes),
    /// Not there before they are touched: then zeros, or whatever was there where all is written over.
    Owned(OnceLock<Words>),
    /// Without zeros, as products take it; with them once anything else has asked for its elements.
    Packed {
        matrix: PackedMatrix,
        dense: OnceLock<Words>,
    },
}

impl Drop for Memory {
    fn drop(&mut self) {
        let words = match &mut self.content {
            TensorContent::Owned(words) => Some(words.take().unwrap_or_default()),
            TensorContent::Packed { dense, .. } => dense.take(),
            TensorContent::Shared(_) => None,
        };
        if let Some(words) = words {
            self.meter.release(self.bytes, words);
        }
    }
}

impl Memory {
    /// Zeros, which take no memory until they are touched.
    pub(super) fn zeros(bytes: usize, meter: &Arc<Meter>) -> Result<Self> {
        meter.reserve(bytes)?;
        Ok(Self { content: TensorContent::Owned(OnceLock::new()), bytes, meter: Arc::clone(meter) })
    }

    /// These elements: shared where they are aligned, copied where they are not.
    pub(super) fn upload(dtype: DType, bytes: Bytes, meter: &Arc<Meter>) -> Result<Self> {
        let aligned = bytes.as_ptr().addr().is_multiple_of(dtype.size());
        let mut memory =
            Self { bytes: bytes.len(), content: TensorContent::Shared(bytes), meter: Arc::clone(meter) };
        if !aligned {
            memory.words_mut()?;
        }
        Ok(memory)
    }

    /// A matrix without its zeros, of so many bytes with them.
    pub(super) fn packed(matrix: PackedMatrix, bytes: usize, meter: &Arc<Meter>) -> Self {
        let content = TensorContent::Packed { matrix, dense: OnceLock::new() };
        Self { content, bytes, meter: Arc::clone(meter) }
    }

    /// The elements' bytes.
    ///
    /// # Errors
    /// There is no memory for them, or for the zeros that were left out.
    pub fn as_bytes(&self) -> Result<&[u8]> {
        let words = match &self.content {
            TensorContent::Shared(bytes) => return Ok(bytes),
            TensorContent::Owned(words) => match words.get() {
                Some(words) => words,
                // Another thread may be faster; zeros that were not touched take no memory.
                None => {
                    let zeros = self.meter.zeros(self.bytes)?;
                    words.get_or_init(|| zeros)
                }
            },
            TensorContent::Packed { matrix, dense } => match dense.get() {
                Some(words) => words,
                None => {
                    let mut words = Some(self.expand(matrix)?);
                    let dense = dense.get_or_init(|| words.take().unwrap_or_default());
                    if let Some(words) = words {
                        self.meter.release(self.bytes, words);
                    }
                    dense
                }
            },
        };
        Ok(&bytemuck::cast_slice::<u32, u8>(words)[..self.bytes])
    }

    fn expand(&self, matrix: &PackedMatrix) -> Result<Words> {
        let mut words = self.meter.reserve_words(self.bytes)?;
        let bytes = &mut bytemuck::cast_slice_mut::<u32, u8>(&mut words)[..self.bytes];
        matrix.expand_into(bytes);
        Ok(words)
    }

    /// The elements' bytes, to write to.
    pub(super) fn as_bytes_mut(&mut self) -> Result<&mut [u8]> {
        let bytes = self.bytes;
        Ok(&mut bytemuck::cast_slice_mut(self.words_mut()?)[..bytes])
    }

    /// The elements' bytes, to write every one of them.
    pub(super) fn overwrite(&mut self) -> Result<&mut [u8]> {
        if matches!(&self.content, TensorContent::Owned(words) if words.get().is_none()) {
            let mut words = self.meter.anything(self.bytes)?;
            if cfg!(debug_assertions) {
                // NaN in every type: what is not written after all shows.
                words.fill(u32::MAX);
            }
            self.content = TensorContent::Owned(words.into());
        }
        self.as_bytes_mut()
    }

    fn words_mut(&mut self) -> Result<&mut [u32]> {
        let own = match &mut self.content {
            TensorContent::Owned(words) if words.get().is_some() => None,
            TensorContent::Owned(_) => Some(self.meter.zeros(self.bytes)?),
            TensorContent::Shared(bytes) => {
                let bytes = bytes.clone();
                let mut words = self.meter.reserve_words(self.bytes)?;
                bytemuck::cast_slice_mut::<u32, u8>(&mut words)[..self.bytes].copy_from_slice(&bytes);
                Some(words)
            }
            TensorContent::Packed { matrix, dense } => match dense.take() {
                Some(words) => Some(words),
                None => {
                    let matrix = matrix.clone();
                    Some(self.expand(&matrix)?)
                }
            },
        };
        if let Some(words) = own {
            self.content = TensorContent::Owned(words.into());
        }
        match &mut self.content {
            TensorContent::Owned(words) => {
                Ok(words.get_mut().unwrap_or_else(|| unreachable!("the elements are there by now")))
            }
            _ => unreachable!("the elements are the tensor's own by now"),
        }
    }
}

/// What products take of a matrix of weights.
pub(super) fn weights(x: &Tensor) -> Result<Weights<'_>> {
    match &memory(x)?.content {
        TensorContent::Packed { matrix, .. } => Ok(Weights::Packed(matrix.view()?)),
        _ => Ok(floats(x)?.into()),
    }
}

impl Storage for Memory {}

/// The memory of a tensor of this device.
pub(super) fn memory(x: &Tensor) -> Result<&Memory> {
    x.storage()
}

/// The bytes of a tensor's elements.
pub(super) fn bytes(x: &Tensor) -> Result<&[u8]> {
    memory(x)?.as_bytes()
}

/// The bytes of a tensor's elements, to write to.
pub(super) fn bytes_mut(x: &mut Tensor) -> Result<&mut [u8]> {
    x.storage_mut::<Memory>()?.as_bytes_mut()
}

/// The elements of a floating-point tensor.
pub(super) fn floats(x: &Tensor) -> Result<Floats<'_>> {
    let bytes = bytes(x)?;
    match x.dtype() {
        DType::F32 => Ok(Floats::F32(bytemuck::cast_slice(bytes))),
        DType::F16 => Ok(Floats::F16(bytemuck::cast_slice(bytes))),
        DType::BF16 => Ok(Floats::BF16(bytemuck::cast_slice(bytes))),
        DType::U32 => Err(not_floats()),
    }
}

/// The bytes of a tensor's elements, to write every one of them.
pub(super) fn bytes_over(x: &mut Tensor) -> Result<&mut [u8]> {
    x.storage_mut::<Memory>()?.overwrite()
}

/// The elements of a floating-point tensor, to write every one of them.
pub(super) fn floats_over(x: &mut Tensor) -> Result<FloatsMut<'_>> {
    let dtype = x.dtype();
    let bytes = bytes_over(x)?;
    match dtype {
        DType::F32 => Ok(FloatsMut::F32(bytemuck::cast_slice_mut(bytes))),
        DType::F16 => Ok(FloatsMut::F16(bytemuck::cast_slice_mut(bytes))),
        DType::BF16 => Ok(FloatsMut::BF16(bytemuck::cast_slice_mut(bytes))),
        DType::U32 => Err(not_floats()),
    }
}

fn not_floats() -> DeviceError {
    DeviceError::Unsupported("words are read as floating-point numbers".to_owned())
}

/// The elements of an f32 tensor; the operation's check has seen its type.
pub(super) fn f32s(x: &Tensor) -> Result<&[f32]> {
    Ok(bytemuck::cast_slice(bytes(x)?))
}

/// The elements of an f32 tensor, to write to.
pub(super) fn f32s_mut(x: &mut Tensor) -> Result<&mut [f32]> {
    Ok(bytemuck::cast_slice_mut(bytes_mut(x)?))
}

/// The elements of an f32 tensor, to write every one of them.
pub(super) fn f32s_over(x: &mut Tensor) -> Result<&mut [f32]> {
    Ok(bytemuck::cast_slice_mut(bytes_over(x)?))
}

/// The elements of a u32 tensor.
pub(super) fn u32s(x: &Tensor) -> Result<&[u32]> {
    Ok(bytemuck::cast_slice(bytes(x)?))
}

/// The elements of a u32 tensor, to write to.
pub(super) fn u32s_mut(x: &mut Tensor) -> Result<&mut [u32]> {
    Ok(bytemuck::cast_slice_mut(bytes_mut(x)?))
}
