//! A matrix on a device.

use super::{DType, DeviceError, Result};
use espalier_ops::Matrix;
use std::{any::Any, fmt::Debug};

/// A row-major matrix on a device, freed when dropped.
#[derive(Debug)]
pub struct Tensor {
    dtype: DType,
    rows: usize,
    cols: usize,
    storage: Box<dyn Storage>,
}

/// A device's own form of a tensor's elements.
pub trait Storage: Any + Debug + Send + Sync {}

impl Tensor {
    /// A tensor over storage that a device made for it.
    pub fn new(dtype: DType, rows: usize, cols: usize, storage: impl Storage) -> Self {
        Self { dtype, rows, cols, storage: Box::new(storage) }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements.
    pub fn elements(&self) -> usize {
        self.rows * self.cols
    }

    /// Bytes of the elements, without a device's own padding.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }

    /// The elements, in the form of the device that asks.
    ///
    /// # Errors
    /// The tensor belongs to another kind of device.
    pub fn storage<S: Storage>(&self) -> Result<&S> {
        let storage: &dyn Any = &*self.storage;
        storage.downcast_ref().ok_or(DeviceError::OtherDevice)
    }

    /// The elements to write to, in the form of the device that asks.
    ///
    /// # Errors
    /// The tensor belongs to another kind of device.
    pub fn storage_mut<S: Storage>(&mut self) -> Result<&mut S> {
        let storage: &mut dyn Any = &mut *self.storage;
        storage.downcast_mut().ok_or(DeviceError::OtherDevice)
    }
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
