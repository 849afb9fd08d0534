//! A tensor's elements in host memory.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use espalier_shaders::{Floats, FloatsMut, Weights};
use memmap2::MmapMut;

use crate::{DType, DeviceError, PackedMatrix, Result, Storage, Tensor, budget::Budget};

/// How much memory a device's tensors hold.
#[derive(Debug, Default)]
pub(super) struct Meter {
    held: AtomicU64,
    peak: AtomicU64,
    budget: Budget,
}

impl Meter {
    fn add(&self, bytes: u64) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
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
    Owned(Words),
    /// Without zeros, as products take it; with them once anything else has asked for its elements.
    Packed {
        matrix: PackedMatrix,
        dense: OnceLock<Words>,
    },
}

/// Whole words, so that elements of every type are aligned.
#[derive(Debug)]
enum Words {
    Small(Box<[u32]>),
    /// In pages of megabytes where the system has them: a forward pass touches gigabytes anew, and one after the other
    /// ordinary pages of 4 KiB took a tenth of it.
    Large(MmapMut),
}

/// From so many bytes on words are [`Words::Large`].
const LARGE: usize = 4 << 20;

impl Words {
    fn zeros(bytes: usize) -> Option<Self> {
        if bytes < LARGE {
            return bytemuck::allocation::try_zeroed_slice_box(bytes.div_ceil(4)).ok().map(Self::Small);
        }
        let map = MmapMut::map_anon(bytes.next_multiple_of(4)).ok()?;
        #[cfg(target_os = "linux")]
        // A system without huge pages does with small ones.
        let _ = map.advise(memmap2::Advice::HugePage);
        Some(Self::Large(map))
    }
}

impl std::ops::Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Self::Small(words) => words,
            Self::Large(map) => bytemuck::cast_slice(map),
        }
    }
}

impl std::ops::DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Small(words) => words,
            Self::Large(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let words = match &self.content {
            TensorContent::Owned(words) => Some(words),
            TensorContent::Packed { dense, .. } => dense.get(),
            TensorContent::Shared(_) => None,
        };
        if let Some(words) = words {
            self.meter.subtract(size_of_val::<[u32]>(words) as u64);
        }
    }
}

impl Memory {
    /// Zeros, which take no memory until they are touched.
    pub(super) fn zeros(bytes: usize, meter: &Arc<Meter>) -> Result<Self> {
        let words = allocate(bytes, meter)?;
        Ok(Self { content: TensorContent::Owned(words), bytes, meter: Arc::clone(meter) })
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
    /// There is no memory for the zeros that were left out.
    pub fn as_bytes(&self) -> Result<&[u8]> {
        let words = match &self.content {
            TensorContent::Shared(bytes) => return Ok(bytes),
            TensorContent::Owned(words) => words,
            TensorContent::Packed { matrix, dense } => match dense.get() {
                Some(words) => words,
                None => {
                    let mut words = self.expand(matrix)?;
                    // Another thread may have been faster.
                    dense.get_or_init(|| std::mem::replace(&mut words, Words::Small(Box::default())));
                    self.meter.subtract(size_of_val::<[u32]>(&words) as u64);
                    dense.get().unwrap_or_else(|| unreachable!("it was set just above"))
                }
            },
        };
        Ok(&bytemuck::cast_slice::<u32, u8>(words)[..self.bytes])
    }

    fn expand(&self, matrix: &PackedMatrix) -> Result<Words> {
        let mut words = allocate(self.bytes, &self.meter)?;
        let bytes = &mut bytemuck::cast_slice_mut::<u32, u8>(&mut words)[..self.bytes];
        matrix.expand_into(bytes);
        Ok(words)
    }

    /// The elements' bytes, to write to.
    pub(super) fn as_bytes_mut(&mut self) -> Result<&mut [u8]> {
        let bytes = self.bytes;
        Ok(&mut bytemuck::cast_slice_mut(self.words_mut()?)[..bytes])
    }

    fn words_mut(&mut self) -> Result<&mut [u32]> {
        let own = match &mut self.content {
            TensorContent::Owned(_) => None,
            TensorContent::Shared(bytes) => {
                let mut words = allocate(self.bytes, &self.meter)?;
                bytemuck::cast_slice_mut::<u32, u8>(&mut words)[..self.bytes].copy_from_slice(bytes);
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
            self.content = TensorContent::Owned(words);
        }
        match &mut self.content {
            TensorContent::Owned(words) => Ok(words),
            _ => unreachable!("the elements are the tensor's own by now"),
        }
    }
}

fn allocate(bytes: usize, meter: &Meter) -> Result<Words> {
    meter.budget.check("a tensor", bytes as u64, meter.held.load(Ordering::Relaxed))?;
    let full = || DeviceError::OutOfMemory { what: "a tensor".to_owned(), bytes: bytes as u64 };
    let words = Words::zeros(bytes).ok_or_else(full)?;
    meter.add(size_of_val::<[u32]>(&words) as u64);
    Ok(words)
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

/// The elements of a floating-point tensor, to write to.
pub(super) fn floats_mut(x: &mut Tensor) -> Result<FloatsMut<'_>> {
    let dtype = x.dtype();
    let bytes = bytes_mut(x)?;
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

/// The elements of a u32 tensor.
pub(super) fn u32s(x: &Tensor) -> Result<&[u32]> {
    Ok(bytemuck::cast_slice(bytes(x)?))
}

/// The elements of a u32 tensor, to write to.
pub(super) fn u32s_mut(x: &mut Tensor) -> Result<&mut [u32]> {
    Ok(bytemuck::cast_slice_mut(bytes_mut(x)?))
}
