//! What a host offers to plugins: plain traits, which the ABI adapters carry over the border.

use crate::{
    Access, Axis, Binary, Buffer, DType, DeviceKind, Document, ModelInfo, Reduction, Result, SamplingOptions,
    Selection, Source, Unary, Within,
};
use serde::{Deserialize, Serialize};

/// A tensor on a device, as the border names it. Never reused within a run.
pub type TensorId = u64;

/// A rectangle of a matrix, as an operand of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The matrix.
    pub tensor: TensorId,
    /// The rectangle's first row.
    pub row: usize,
    /// The rectangle's first column.
    pub col: usize,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Whether its transpose is the operand.
    pub transposed: bool,
}

/// [`Scores`](crate::Scores) as the border names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreIds {
    /// What is done to each element.
    pub f: Unary,
    /// The matrix.
    pub a: TensorId,
    /// What that is combined with, `[1, cols]`.
    pub by: Option<(Binary, TensorId)>,
}

/// A plugin's [`Kernel`](crate::Kernel), borrowed for one run of it.
#[derive(Clone, Copy)]
pub struct KernelCall<'a> {
    /// A name for messages.
    pub name: &'a str,
    /// The WGSL source.
    pub wgsl: &'a str,
    /// How it uses its bindings, in order.
    pub bindings: &'a [Access],
    /// The same computation for a CPU device.
    #[expect(clippy::type_complexity, reason = "a name for it would be used here alone")]
    pub cpu: Option<&'a dyn Fn(&mut [Buffer<'_>], &[u8]) -> Result<()>>,
}

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
    fn select(&self, scores: ScoreIds, selection: Selection, mask: TensorId) -> Result<()>;

    /// `x = +0` where the mask's bit is set.
    fn zero_where(&self, mask: TensorId, x: TensorId) -> Result<()>;

    /// `c = alpha · a · b + beta · c`, on rectangles; `c` is never transposed, and its tensor is neither
    /// `a`'s nor `b`'s.
    fn matmul(&self, alpha: f32, a: Block, b: Block, beta: f32, c: Block) -> Result<()>;

    /// Copies a rectangle of one tensor onto one of another.
    fn copy(&self, from: Block, to: Block) -> Result<()>;

    /// `out = xᵀ`.
    fn transpose(&self, x: TensorId, out: TensorId) -> Result<()>;

    /// `out[0, j] = x[j, j]` of a square matrix.
    fn diagonal(&self, x: TensorId, out: TensorId) -> Result<()>;

    /// `x[j, j] += d[0, j]` of a square matrix, in place.
    fn add_diagonal(&self, d: TensorId, x: TensorId) -> Result<()>;

    /// `x = J x J`, in place: the order of rows and of columns reversed.
    fn reverse(&self, x: TensorId) -> Result<()>;

    /// `x = L`, in place, lower triangular with `L Lᵀ = x`; its upper half becomes 0. Only the lower half of
    /// `x` is read.
    ///
    /// # Errors
    /// [`Code::Numeric`](crate::Code::Numeric) where `x` is not positive definite; what it then holds is undefined.
    fn cholesky(&self, x: TensorId) -> Result<()>;

    /// `l = L⁻¹`, in place, of a lower triangular `l`.
    fn triangular_inverse(&self, l: TensorId) -> Result<()>;

    /// `b = L⁻¹ b`, or `L⁻ᵀ b` if `transposed`, in place, of a lower triangular `l`.
    fn triangular_solve(&self, l: TensorId, transposed: bool, b: TensorId) -> Result<()>;

    /// `out` = the value at place `k`, from 0, of the sorted scores, none of which may be negative: `[1, 1]`
    /// or `[rows, 1]`.
    fn kth_smallest(&self, scores: ScoreIds, within: Within, k: usize, out: TensorId) -> Result<()>;

    /// Sets the bits of the scores that are at most their threshold (`[1, 1]` or `[rows, 1]`), clears all
    /// others.
    fn at_most(&self, scores: ScoreIds, thresholds: TensorId, mask: TensorId) -> Result<()>;

    /// Runs a plugin's own kernel over `workgroups` workgroups. Bindings that it writes are of its access
    /// [`Write`](crate::Access::Write); one tensor is bound once.
    ///
    /// # Errors
    /// [`Code::Unsupported`](crate::Code::Unsupported) on a CPU device where the kernel has no CPU twin, and
    /// where a tensor is larger than the device can bind.
    fn run(&self, kernel: &KernelCall, bindings: &[TensorId], params: &[u8], workgroups: u32) -> Result<()>;
}

/// A collection of documents.
pub trait DocumentService: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The files they came from, in order.
    ///
    /// # Errors
    /// The other side of the border fails.
    fn sources(&self) -> Result<Vec<Source>>;

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

/// What selectors may ask of a model; see [`Model`](crate::Model) for the exact meaning.
pub trait ModelService: Send + Sync {
    /// Facts of the model.
    ///
    /// # Errors
    /// There is no model.
    fn info(&self) -> Result<ModelInfo>;

    /// The log-likelihood of every token but each sequence's first.
    ///
    /// # Errors
    /// No model, an unusable sequence, or a failing device; so for every function below.
    fn log_likelihoods(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>>;

    /// The mean hidden state of each sequence behind each of these layers.
    fn pooled(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<Vec<f32>>>;

    /// What the model writes after each prefix.
    fn sample(&self, prefixes: &[&[u32]], options: &SamplingOptions) -> Result<Vec<Vec<u32>>>;
}

/// What cuts windows of what a selector offers; see [`Windows`](crate::Windows) for the exact meaning.
pub trait WindowService: Send + Sync {
    /// Whether more windows are wanted.
    fn wanted(&self) -> bool;

    /// Takes a document, for at most `limit` windows. The answer is how many came of it.
    ///
    /// # Errors
    /// There is no such document, or it cannot be read.
    fn offer(&mut self, document: usize, score: Option<f64>, limit: usize) -> Result<usize>;

    /// Takes a selector's own text, for at most `limit` windows.
    ///
    /// # Errors
    /// No tokens, or one that the model does not know.
    fn offer_tokens(&mut self, tokens: &[u32], score: Option<f64>, limit: usize) -> Result<usize>;

    /// Drops what was packed and has not filled a window.
    fn separate(&mut self);
}
