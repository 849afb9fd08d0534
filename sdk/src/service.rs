//! What a host offers to plugins: plain traits, which the ABI adapters carry over the border.

use crate::{Axis, Binary, DType, DeviceKind, Document, Reduction, Result, Selection, Unary};

/// A tensor on a device, as the border names it. Never reused within a run.
pub type TensorId = u64;

/// The operations of a device. Matrices are row-major; sizes are checked by the implementation.
///
/// Every operation writes to tensors that the caller made with [`create`](DeviceService::create) and
/// gives back with [`free`](DeviceService::free). An output is never an input too, unless the
/// operation says so.
pub trait DeviceService: Send + Sync + 'static {
    /// The device's name, for messages.
    fn name(&self) -> String;

    /// Whether operations run on a GPU or on the CPU.
    fn kind(&self) -> DeviceKind;

    /// A tensor of zeros.
    ///
    /// # Errors
    /// The device has no memory left.
    fn create(&self, dtype: DType, rows: usize, cols: usize) -> Result<TensorId>;

    /// A tensor with these bytes, little-endian.
    ///
    /// # Errors
    /// As [`create`](DeviceService::create).
    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<TensorId>;

    /// A tensor's bytes, little-endian.
    ///
    /// # Errors
    /// The device failed.
    fn read(&self, tensor: TensorId) -> Result<Vec<u8>>;

    /// Gives a tensor back. An unknown one is ignored.
    fn free(&self, tensor: TensorId);

    /// `out = scale · f(x) + shift`, element by element.
    ///
    /// # Errors
    /// Shapes or types that do not fit, or a failing device; so for every operation below.
    fn map(&self, f: Unary, x: TensorId, scale: f32, shift: f32, out: TensorId) -> Result<()>;

    /// `out = f(a) ∘ (alpha · b)`, element by element; `b` is of `a`'s shape, or one row `[1, cols]`, one
    /// column `[rows, 1]` or one number `[1, 1]` that is repeated.
    fn zip(&self, f: Unary, a: TensorId, op: Binary, alpha: f32, b: TensorId, out: TensorId) -> Result<()>;

    /// `out (+)= reduction of x along axis`, in a fixed order.
    fn reduce(&self, f: Reduction, axis: Axis, x: TensorId, accumulate: bool, out: TensorId) -> Result<()>;

    /// Sets the bits of the selected scores in `mask`, words of 32 columns, `[rows, ⌈cols / 32⌉]`, and
    /// clears all others.
    fn select(&self, scores: TensorId, selection: Selection, mask: TensorId) -> Result<()>;

    /// `x = +0` where the mask's bit is set.
    fn zero_where(&self, mask: TensorId, x: TensorId) -> Result<()>;
}

/// A collection of documents.
pub trait DocumentService: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A document's text and source.
    ///
    /// # Errors
    /// The document cannot be read.
    fn document(&self, index: usize) -> Result<Document>;

    /// A document's tokens, with the special tokens that the model's tokenizer adds.
    ///
    /// # Errors
    /// The document cannot be read or tokenised.
    fn tokens(&self, index: usize) -> Result<Vec<u32>>;
}
