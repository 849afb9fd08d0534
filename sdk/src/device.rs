//! The device and its tensors, as a plugin sees them.

use crate::{
    Axis, Binary, DType, Error, Reduction, Result, Selection, Sparsity, Unary,
    service::{DeviceService, TensorId},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Where operations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// On a GPU, in WGSL.
    Gpu,
    /// On the CPU, natively.
    Cpu,
}

/// A device: makes tensors and computes with them. Cheap to clone.
#[derive(Clone)]
pub struct Device(Arc<dyn DeviceService>);

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.0.name())
    }
}

/// A row-major matrix on a device, freed when dropped.
pub struct Tensor {
    device: Arc<dyn DeviceService>,
    id: TensorId,
    owned: bool,
    dtype: DType,
    rows: usize,
    cols: usize,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor#{}({} [{}, {}])", self.id, self.dtype, self.rows, self.cols)
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if self.owned {
            self.device.free(self.id);
        }
    }
}

impl Tensor {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements of an f32 tensor, row by row.
    ///
    /// # Errors
    /// The tensor is not f32, or the device failed.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        if self.dtype != DType::F32 {
            return Err(Error::invalid(format!("{self:?} is read as f32")));
        }
        Ok(bytemuck::pod_collect_to_vec(&self.device.read(self.id)?))
    }

    /// The id of a tensor that this value no longer frees.
    pub(crate) fn into_id(mut self) -> TensorId {
        self.owned = false;
        self.id
    }

    fn words(&self) -> Result<Vec<u32>> {
        Ok(bytemuck::pod_collect_to_vec(&self.device.read(self.id)?))
    }
}

/// A set of a matrix's elements, one bit each.
#[derive(Debug)]
pub struct Mask {
    words: Tensor,
    cols: usize,
}

impl Mask {
    /// How many elements are set.
    ///
    /// # Errors
    /// The device failed.
    pub fn count(&self) -> Result<u64> {
        Ok(self.words.words()?.iter().map(|word| u64::from(word.count_ones())).sum())
    }

    /// The share of elements that are set.
    ///
    /// # Errors
    /// The device failed.
    pub fn share(&self) -> Result<f64> {
        Ok(self.count()? as f64 / (self.words.rows * self.cols) as f64)
    }
}

impl Device {
    /// The device behind a service.
    pub fn new(service: Arc<dyn DeviceService>) -> Self {
        Self(service)
    }

    /// The device's name, for messages.
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// Whether operations run on a GPU or on the CPU.
    pub fn kind(&self) -> DeviceKind {
        self.0.kind()
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn zeros(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
        let id = self.0.create(dtype, rows, cols)?;
        Ok(self.tensor(id, true, dtype, rows, cols))
    }

    /// An f32 tensor with these elements, row by row.
    ///
    /// # Errors
    /// The number of elements is another, or the device has no memory left.
    pub fn from_slice(&self, rows: usize, cols: usize, elements: &[f32]) -> Result<Tensor> {
        if rows * cols != elements.len() {
            return Err(Error::invalid(format!("{} elements for a [{rows}, {cols}] tensor", elements.len())));
        }
        let id = self.0.upload(DType::F32, rows, cols, bytemuck::cast_slice(elements))?;
        Ok(self.tensor(id, true, DType::F32, rows, cols))
    }

    /// `f(x)`, element by element.
    ///
    /// # Errors
    /// The device failed; so for every operation below, which also refuse shapes that do not fit.
    pub fn map(&self, f: Unary, x: &Tensor) -> Result<Tensor> {
        self.affine(f, x, 1.0, 0.0)
    }

    /// `scale · f(x) + shift`, element by element.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn affine(&self, f: Unary, x: &Tensor, scale: f32, shift: f32) -> Result<Tensor> {
        self.make(x.rows, x.cols, |out| self.0.map(f, x.id, scale, shift, out))
    }

    /// `f(a) ∘ b`, element by element. `b` is of `a`'s shape, or one row `[1, cols]`, one column
    /// `[rows, 1]` or one number `[1, 1]`, which is repeated.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn zip(&self, f: Unary, a: &Tensor, op: Binary, b: &Tensor) -> Result<Tensor> {
        self.make(a.rows, a.cols, |out| self.0.zip(f, a.id, op, 1.0, b.id, out))
    }

    /// `a + alpha · b`, with the shapes of [`Device::zip`].
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn axpy(&self, a: &Tensor, alpha: f32, b: &Tensor) -> Result<Tensor> {
        self.make(a.rows, a.cols, |out| self.0.zip(Unary::Identity, a.id, Binary::Add, alpha, b.id, out))
    }

    /// Every row, or every column, gathered into one number, in a fixed order.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn reduce(&self, f: Reduction, axis: Axis, x: &Tensor) -> Result<Tensor> {
        let (rows, cols) = match axis {
            Axis::EachRow => (x.rows, 1),
            Axis::EachColumn => (1, x.cols),
        };
        self.make(rows, cols, |out| self.0.reduce(f, axis, x.id, false, out))
    }

    /// The smallest of the scores, none of which may be negative.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn select(&self, scores: &Tensor, selection: Selection) -> Result<Mask> {
        let words = self.zeros(DType::U32, scores.rows, scores.cols.div_ceil(32))?;
        self.0.select(scores.id, selection, words.id)?;
        Ok(Mask { words, cols: scores.cols })
    }

    /// The smallest scores of every row, as many as the target asks for: [`Selection::EachRow`] for a
    /// share, [`Selection::Groups`] for a pattern.
    ///
    /// # Errors
    /// As [`Device::map`]; a pattern whose groups do not divide the columns.
    pub fn smallest_per_row(&self, scores: &Tensor, target: Sparsity) -> Result<Mask> {
        let selection = match target {
            Sparsity::Ratio(_) => Selection::EachRow { count: target.count(scores.cols) },
            Sparsity::Pattern { n, m } => Selection::Groups { n, m },
        };
        self.select(scores, selection)
    }

    /// A copy of `x` that is +0 where the mask is set.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn zero_where(&self, mask: &Mask, x: &Tensor) -> Result<Tensor> {
        let out = self.map(Unary::Identity, x)?;
        self.0.zero_where(mask.words.id, out.id)?;
        Ok(out)
    }

    /// A tensor that lives on this device already; `owned` if it is to be freed with the value.
    pub(crate) fn tensor(&self, id: TensorId, owned: bool, dtype: DType, rows: usize, cols: usize) -> Tensor {
        Tensor { device: Arc::clone(&self.0), id, owned, dtype, rows, cols }
    }

    fn make(&self, rows: usize, cols: usize, fill: impl FnOnce(TensorId) -> Result<()>) -> Result<Tensor> {
        let out = self.zeros(DType::F32, rows, cols)?;
        fill(out.id)?;
        Ok(out)
    }
}
