//! Tensors, and rectangles of them.

use crate::{
    DType, Device, Error, Result,
    message::TensorHandle,
    service::{DeviceService, TensorId},
};
use espalier_ops::Matrix;
use std::{fmt, ops::Range, sync::Arc};

/// A row-major matrix on a device, freed when dropped.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// # fn main() -> Result<()> {
/// let device = testing::device();
/// let x = device.from_slice(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!((x.rows(), x.cols(), x.dtype()), (2, 3, DType::F32));
/// // A part of it, copied.
/// let mut column = device.zeros(DType::F32, 2, 1)?;
/// device.copy(x.block(0..2, 1..2), column.view_mut())?;
/// assert_eq!(column.to_vec()?, [2.0, 5.0]);
/// # Ok(())
/// # }
/// ```
pub struct Tensor {
    device: Arc<dyn DeviceService>,
    pub(crate) id: TensorId,
    owned: bool,
    dtype: DType,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
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
    /// A tensor that lives on the device already; `owned` if it is to be freed with the value.
    pub(crate) fn of(
        device: &Arc<dyn DeviceService>,
        id: TensorId,
        owned: bool,
        dtype: DType,
        (rows, cols): (usize, usize),
    ) -> Self {
        Self { device: Arc::clone(device), id, owned, dtype, rows, cols }
    }

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

    /// How both sides of the border name it.
    pub(crate) fn handle(&self) -> TensorHandle {
        TensorHandle { id: self.id, dtype: self.dtype, rows: self.rows, cols: self.cols }
    }

    /// Gives it to the other side of the border: this value no longer frees it.
    pub(crate) fn give(mut self) -> TensorHandle {
        self.owned = false;
        self.handle()
    }

    /// A copy in memory of its own.
    pub(crate) fn copy(&self) -> Result<Self> {
        let bytes = self.device.read(self.id)?;
        let id = self.device.upload(self.dtype, self.rows, self.cols, &bytes)?;
        Ok(Self::of(&self.device, id, true, self.dtype, (self.rows, self.cols)))
    }

    /// The same tensor, to be used no longer than this value lives.
    pub(crate) fn shared(&self) -> Self {
        Self::of(&self.device, self.id, false, self.dtype, (self.rows, self.cols))
    }

    fn words(&self) -> Result<Vec<u32>> {
        Ok(bytemuck::pod_collect_to_vec(&self.device.read(self.id)?))
    }
}

/// A rectangle of a tensor, or its transpose, to read from.
pub type View<'a> = espalier_ops::Block<&'a Tensor>;

/// A rectangle of a tensor to write to.
#[derive(Debug)]
pub struct ViewMut<'a> {
    pub(crate) tensor: &'a mut Tensor,
    pub(crate) row: usize,
    pub(crate) col: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Matrix for Tensor {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }
}

impl Tensor {
    /// All of it.
    pub fn view(&self) -> View<'_> {
        View::whole(self)
    }

    /// These rows and columns.
    pub fn block(&self, rows: Range<usize>, cols: Range<usize>) -> View<'_> {
        View {
            tensor: self,
            row: rows.start,
            col: cols.start,
            rows: rows.len(),
            cols: cols.len(),
            transposed: false,
        }
    }

    /// All of it, to write to.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let (rows, cols) = (0..self.rows, 0..self.cols);
        self.block_mut(rows, cols)
    }

    /// These rows and columns, to write to.
    pub fn block_mut(&mut self, rows: Range<usize>, cols: Range<usize>) -> ViewMut<'_> {
        ViewMut { tensor: self, row: rows.start, col: cols.start, rows: rows.len(), cols: cols.len() }
    }
}

/// A set of a matrix's elements, one bit each.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// # fn main() -> Result<()> {
/// let device = testing::device();
/// let mask = Mask::from_slice(&device, 2, 2, &[true, false, true, true])?;
/// assert_eq!(mask.count()?, 3);
/// assert_eq!(mask.share()?, 0.75);
/// assert_eq!(mask.to_vec()?, [true, false, true, true]);
/// let other = Mask::from_slice(&device, 2, 2, &[true, true, false, true])?;
/// assert_eq!(mask.and(&device, &other)?.to_vec()?, [true, false, false, true]);
/// assert_eq!(mask.or(&device, &other)?.to_vec()?, [true; 4]);
/// assert_eq!(mask.and_not(&device, &other)?.to_vec()?, [false, false, true, false]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mask {
    pub(crate) words: Tensor,
    pub(crate) cols: usize,
}

impl Mask {
    /// The mask of these words over so many columns.
    pub(crate) fn of(words: Tensor, cols: usize) -> Result<Self> {
        if words.dtype != DType::U32 || words.cols != cols.div_ceil(32) {
            return Err(Error::invalid(format!("{words:?} is not a mask over {cols} columns")));
        }
        Ok(Self { words, cols })
    }

    /// The mask of these elements, row by row.
    ///
    /// # Errors
    /// The number of elements is another, or the device has no memory left.
    pub fn from_slice(device: &Device, rows: usize, cols: usize, elements: &[bool]) -> Result<Self> {
        if rows * cols != elements.len() {
            return Err(Error::invalid(format!("{} elements for a [{rows}, {cols}] mask", elements.len())));
        }
        let mut words = vec![0_u32; rows * cols.div_ceil(32)];
        for (at, _) in elements.iter().enumerate().filter(|(_, set)| **set) {
            let (row, col) = (at / cols, at % cols);
            words[row * cols.div_ceil(32) + col / 32] |= 1 << (col % 32);
        }
        Self::of(device.from_words(rows, cols.div_ceil(32), &words)?, cols)
    }

    /// Its elements, row by row.
    ///
    /// # Errors
    /// The device failed.
    pub fn to_vec(&self) -> Result<Vec<bool>> {
        let words = self.words.words()?;
        let row = |words: &[u32]| -> Vec<bool> {
            (0..self.cols).map(|col| words[col / 32] >> (col % 32) & 1 == 1).collect()
        };
        Ok(words.chunks(self.words.cols.max(1)).flat_map(row).collect())
    }

    /// The elements that are set in both.
    ///
    /// # Errors
    /// The masks are of different shapes, or the device failed; so for every combination.
    pub fn and(&self, device: &Device, other: &Self) -> Result<Self> {
        self.combined(device, other, |a, b| a & b)
    }

    /// The elements that are set in one of them or in both.
    ///
    /// # Errors
    /// As [`Mask::and`].
    pub fn or(&self, device: &Device, other: &Self) -> Result<Self> {
        self.combined(device, other, |a, b| a | b)
    }

    /// The elements that are set in this and not in the other.
    ///
    /// # Errors
    /// As [`Mask::and`].
    pub fn and_not(&self, device: &Device, other: &Self) -> Result<Self> {
        self.combined(device, other, |a, b| a & !b)
    }

    /// Words are few: they are combined here, not on the device.
    fn combined(&self, device: &Device, other: &Self, f: impl Fn(u32, u32) -> u32) -> Result<Self> {
        if (self.words.rows, self.cols) != (other.words.rows, other.cols) {
            let (a, b) = (&self.words, &other.words);
            return Err(Error::invalid(format!(
                "masks of [{}, {}] and [{}, {}] are combined",
                a.rows, self.cols, b.rows, other.cols
            )));
        }
        let words: Vec<u32> =
            self.words.words()?.into_iter().zip(other.words.words()?).map(|(a, b)| f(a, b)).collect();
        Self::of(device.from_words(self.words.rows, self.words.cols, &words)?, self.cols)
    }

    /// Its words, for a kernel of the plugin's own: u32, `[rows, ⌈cols / 32⌉]`. Column `c` is bit `c % 32` of word `c / 32`.
    pub fn words(&self) -> &Tensor {
        &self.words
    }

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
