//! A matrix on a device.

use super::{DType, DeviceError, Result, cpu, gpu};

/// A row-major matrix on a device, freed when dropped.
#[derive(Debug)]
pub struct Tensor {
    dtype: DType,
    rows: usize,
    cols: usize,
    storage: Storage,
}

/// Where a tensor's elements are.
#[derive(Debug)]
pub enum Storage {
    /// In host memory.
    Cpu(cpu::Memory),
    /// In one GPU buffer for every panel of rows.
    Gpu(gpu::Panels),
}

impl Tensor {
    /// A tensor over storage that a device made for it.
    pub fn new(dtype: DType, rows: usize, cols: usize, storage: Storage) -> Self {
        Self { dtype, rows, cols, storage }
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

    /// Where the elements are.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Where the elements are, to write to.
    pub fn storage_mut(&mut self) -> &mut Storage {
        &mut self.storage
    }

    /// Checks the shape of an operand.
    ///
    /// # Errors
    /// Another shape.
    pub fn expect_shape(&self, operation: &'static str, rows: usize, cols: usize) -> Result<()> {
        if (self.rows, self.cols) == (rows, cols) {
            return Ok(());
        }
        Err(DeviceError::Shape {
            operation,
            expected: format!("[{rows}, {cols}]"),
            found: format!("[{}, {}]", self.rows, self.cols),
        })
    }

    /// Checks the element type of an operand.
    ///
    /// # Errors
    /// Another type.
    pub fn expect_dtype(&self, operation: &'static str, allowed: &[DType]) -> Result<()> {
        if allowed.contains(&self.dtype) {
            return Ok(());
        }
        let allowed: Vec<_> = allowed.iter().map(DType::to_string).collect();
        Err(DeviceError::Type { operation, expected: allowed.join(" or "), found: self.dtype })
    }
}
