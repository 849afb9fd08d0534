//! Tensors and the operations on them, behind one trait with two implementations: [`gpu`] (wgpu)
//! and [`cpu`] (native, multi-threaded). Both compute with the kernels of `espalier-shaders`.
//!
//! Matrices are row-major. An operation writes to a tensor that its caller made; outputs never alias
//! inputs unless the operation works in place and says so. Reductions have a fixed order: the same
//! inputs on the same device give the same bytes.

mod budget;
pub mod check;
pub mod choose;
pub mod cpu;
mod error;
pub mod gpu;
mod operands;
mod profiled;
mod tensor;

pub use error::{DeviceError, Result};
pub use gpu::was_abandoned;
pub use operands::{Binding, Input, LinearLayer, Norm, Onto, Operand, Scores};
pub use profiled::Profiled;
pub use tensor::{Storage, Tensor};

pub use espalier_sdk::{
    Axis, Binary, DType, DeviceKind, Reduction, Selection, Unary, Within, service::KernelCall,
};

pub use espalier_shaders::Compute;

use bytes::Bytes;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// What a device says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceInfo {
    /// The adapter's or processor's name.
    pub name: String,
    /// `gpu` or `cpu`.
    pub kind: DeviceKind,
    /// The backend (`vulkan`, `metal`, `dx12`, `gl`), or `native` for the CPU.
    pub backend: String,
    /// The driver's name and version, or the instruction sets in use for the CPU.
    pub driver: String,
    /// What products with weights round their operands to.
    #[serde(serialize_with = "as_text")]
    pub compute: Compute,
    /// The memory it computes in, in bytes, where it tells; the CPU's is the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.backend, self.driver)?;
        if self.compute == Compute::F32 { Ok(()) } else { write!(f, ", products in {}", self.compute) }
    }
}

fn as_text<S: serde::Serializer>(compute: &Compute, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(compute)
}

/// The heads of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
    /// What scores are multiplied with, `1/√head_dim` as a rule.
    pub scale: f32,
    /// How many of the last keys a query sees, itself included (Mistral's sliding window).
    pub window: Option<usize>,
}

/// One sequence of a batch: its queries are the last `queries` positions of its `keys` positions.
///
/// A batch is the concatenation of its sequences without padding: row `query_start + i` of the query
/// matrix is the sequence's position `keys - queries + i`, row `key_start + j` of the key and value
/// matrices its position `j`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first row of the queries.
    pub query_start: usize,
    /// Rows of queries.
    pub queries: usize,
    /// The first row of the keys and values.
    pub key_start: usize,
    /// Rows of keys and values, at least `queries`.
    pub keys: usize,
}

/// A device: memory, the forward pass's operations, statistics, and what pruning needs.
pub trait Device: Send + Sync {
    /// What the device says of itself.
    fn info(&self) -> &DeviceInfo;

    // Memory.

    /// A tensor of zeros.
    fn zeros(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor>;

    /// A tensor with these little-endian bytes, which the CPU shares instead of copying where it can.
    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Result<Tensor>;

    /// A tensor's little-endian bytes, after everything asked for before has run.
    fn read(&self, x: &Tensor) -> Result<Vec<u8>>;

    /// Hands over what was asked for so far and waits until it is done.
    fn synchronize(&self) -> Result<()>;

    /// From here on times every kernel by the device's own clock, one at a time and so slower as a whole, for
    /// [`kernel_seconds`](Self::kernel_seconds). False if it has none.
    fn time_kernels(&self) -> Result<bool> {
        Ok(false)
    }

    /// How long the kernels ran, in seconds, that were [waited for](Self::synchronize) since this was last asked;
    /// none if there were none or they are not [timed](Self::time_kernels).
    fn kernel_seconds(&self) -> Option<f64> {
        None
    }

    /// The most bytes that tensors of this device have held at one time.
    fn peak_bytes(&self) -> u64;

    /// From here on refuses a tensor with which all of them would hold more than so many bytes, before the driver or the
    /// system is asked for it.
    fn set_budget(&self, bytes: Option<u64>);

    /// Whether the device is gone. All its tensors are gone with it.
    fn is_lost(&self) -> bool {
        false
    }

    /// Whether a wait for the device was given up, because it did not answer. It takes no more work.
    fn is_stuck(&self) -> bool {
        false
    }

    /// Opens the same device anew, after it [was lost](Self::is_lost).
    fn reopen(&self) -> Result<Arc<dyn Device>> {
        Err(DeviceError::Unsupported(format!("{} cannot be opened again", self.info().name)))
    }

    /// `out = x` in `out`'s type; floating-point types only, rounding to nearest even.
    fn convert(&self, x: &Tensor, out: &mut Tensor) -> Result<()>;

    /// Rows `start..start + out.rows()` of `x`.
    fn copy_rows(&self, x: &Tensor, start: usize, out: &mut Tensor) -> Result<()>;

    /// `out[places[i]] = x[i]`, row by row: x f32, places `[rows, 1]` u32, all of them rows of `out` and no two
    /// the same. Other rows of `out` stay as they are.
    fn scatter_rows(&self, x: &Tensor, places: &Tensor, out: &mut Tensor) -> Result<()>;

    // The forward pass. Activations are f32; weights f32, f16 or bf16, widened on the way.

    /// `y = x · wᵀ (+ bias)` for every layer, or what its [`Onto`] says. x, normalised if there is a norm, and weights
    /// are rounded to the type to compute in ([`DeviceInfo::compute`]).
    fn linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()>;

    /// `y = x · wᵀ (+ bias) (+ y if accumulate)`: x `[tokens, in]`, w `[out, in]`, bias `[1, out]`, y `[tokens, out]`.
    fn linear(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: Option<&Tensor>,
        accumulate: bool,
        y: &mut Tensor,
    ) -> Result<()> {
        let onto = if accumulate { Onto::Sum } else { Onto::Nothing };
        self.linears(x.into(), &mut [LinearLayer { weight: w, bias, onto, y }])
    }

    /// `y = x / √(mean(x²) + eps) · weight` row by row (Zhang & Sennrich, 1910.07467); weight `[1, cols]` in
    /// any floating-point type.
    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32, y: &mut Tensor) -> Result<()>;

    /// Rotary embedding in place, in the half-split layout of Hugging Face's LLaMA: in each head the pair
    /// `(i, i + head_dim/2)` of x `[tokens, heads · head_dim]` turns by the angle of the row's position.
    /// table `[positions, head_dim]` f32 holds cosines in its left half and sines in its right; positions
    /// `[tokens, 1]` u32.
    fn rope(&self, x: &mut Tensor, head_dim: usize, table: &Tensor, positions: &Tensor) -> Result<()>;

    /// Causal attention of every span for itself: q and out `[queries, heads · head_dim]`, k and v
    /// `[keys, kv_heads · head_dim]`. No matrix of queries × keys is ever held.
    fn attention(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        shape: &AttentionShape,
        spans: &[Span],
        out: &mut Tensor,
    ) -> Result<()>;

    /// `loss[t] = logsumexp(logits[t]) − logits[t, targets[t]]`: logits `[tokens, vocab]`, targets
    /// `[tokens, 1]` u32, loss `[tokens, 1]`.
    fn cross_entropy(&self, logits: &Tensor, targets: &Tensor, loss: &mut Tensor) -> Result<()>;

    /// The Jensen-Shannon divergence in nats of the distributions of two rows of logits (Lin, 1991): a and b
    /// `[tokens, vocab]`, out `[tokens, 1]`.
    fn js_divergence(&self, a: &Tensor, b: &Tensor, out: &mut Tensor) -> Result<()>;

    // Statistics and pruning; see `espalier_sdk::service::DeviceService` for the exact meaning.

    /// `out = scale · f(x) + shift`, element by element.
    fn map(&self, f: Unary, x: &Tensor, scale: f32, shift: f32, out: &mut Tensor) -> Result<()>;

    /// `out = f(a) ∘ (alpha · b)`, element by element, `b` repeated where it is a row, a column or a number.
    fn zip(&self, f: Unary, a: &Tensor, op: Binary, alpha: f32, b: &Tensor, out: &mut Tensor) -> Result<()>;

    /// `out (+)= reduction of x along axis`.
    fn reduce(&self, f: Reduction, axis: Axis, x: &Tensor, accumulate: bool, out: &mut Tensor) -> Result<()>;

    /// Sets the bits of the selected scores, clears all others; mask `[rows, ⌈cols / 32⌉]` u32.
    fn select(&self, scores: Scores, selection: Selection, mask: &mut Tensor) -> Result<()>;

    /// `x = +0` where the mask's bit is set, in place; x f32.
    fn zero_where(&self, mask: &Tensor, x: &mut Tensor) -> Result<()>;

    /// The value at place `k`, from 0, of the sorted scores, none negative: out `[1, 1]` or `[rows, 1]`.
    fn kth_smallest(&self, scores: Scores, within: Within, k: usize, out: &mut Tensor) -> Result<()>;

    /// Sets the bits of scores that are at most their threshold, clears all others; thresholds `[1, 1]` or
    /// `[rows, 1]`, mask `[rows, ⌈cols / 32⌉]` u32.
    fn at_most(&self, scores: Scores, thresholds: &Tensor, mask: &mut Tensor) -> Result<()>;

    // Linear algebra, f32.

    /// `gram += xᵀx`: x `[tokens, cols]`, gram `[cols, cols]`, both halves of which are filled. One half is
    /// computed, in a fixed order.
    fn gram(&self, x: &Tensor, gram: &mut Tensor) -> Result<()>;

    /// `c = alpha · a · b + beta · c` on the rectangle of `c` that starts at `to` (row, column) and has the
    /// product's shape. With `beta` 0, what `c` held does not matter, were it NaN.
    fn matmul(
        &self,
        alpha: f32,
        a: Operand,
        b: Operand,
        beta: f32,
        c: &mut Tensor,
        to: (usize, usize),
    ) -> Result<()>;

    /// Copies a rectangle of one tensor to the place `to` (row, column) of another of the same type. Not
    /// transposed.
    fn copy(&self, from: Operand, out: &mut Tensor, to: (usize, usize)) -> Result<()>;

    /// `out = xᵀ`
    fn transpose(&self, x: &Tensor, out: &mut Tensor) -> Result<()>;

    /// `x = J x J`: the order of rows and of columns reversed.
    fn reverse(&self, x: &mut Tensor) -> Result<()>;

    /// `out[0, j] = x[j, j]` of a square matrix.
    fn diagonal(&self, x: &Tensor, out: &mut Tensor) -> Result<()>;

    /// `x[j, j] += d[0, j]` of a square matrix, in place.
    fn add_diagonal(&self, d: &Tensor, x: &mut Tensor) -> Result<()>;

    /// `x = L`, lower triangular with `L Lᵀ = x`, its upper half 0. Reads the lower half of `x`; after an error, what
    /// `x` holds is undefined.
    ///
    /// # Errors
    /// [`DeviceError::NotPositiveDefinite`].
    fn cholesky(&self, x: &mut Tensor) -> Result<()>;

    /// `l = L⁻¹` of a lower triangular `l`, whose upper half becomes 0.
    fn triangular_inverse(&self, l: &mut Tensor) -> Result<()>;

    /// `b = L⁻¹ b`, or `L⁻ᵀ b` if `transposed`, in place, of a lower triangular `l`.
    fn triangular_solve(&self, l: &Tensor, transposed: bool, b: &mut Tensor) -> Result<()>;

    /// Runs a plugin's own kernel. Every binding is a whole tensor, which must fit one binding; those of
    /// [`Access::Write`](espalier_sdk::Access::Write) are given as such.
    fn run(
        &self,
        kernel: &KernelCall,
        bindings: &mut [Binding],
        params: &[u8],
        workgroups: u32,
    ) -> Result<()>;
}

/// Conveniences over [`Device`].
impl dyn Device + '_ {
    /// A tensor of f32 elements.
    pub fn from_f32(&self, rows: usize, cols: usize, elements: Vec<f32>) -> Result<Tensor> {
        let bytes = Bytes::from_owner(F32Bytes(elements));
        self.upload(DType::F32, rows, cols, bytes)
    }

    /// A column of u32 elements.
    pub fn from_u32(&self, elements: &[u32]) -> Result<Tensor> {
        self.upload(DType::U32, elements.len(), 1, Bytes::copy_from_slice(bytemuck::cast_slice(elements)))
    }

    /// The elements of an f32 tensor.
    pub fn to_f32(&self, x: &Tensor) -> Result<Vec<f32>> {
        x.expect_dtype("to_f32", &[DType::F32])?;
        Ok(bytemuck::pod_collect_to_vec(&self.read(x)?))
    }
}

/// Elements handed over as bytes without a copy.
struct F32Bytes(Vec<f32>);

impl AsRef<[u8]> for F32Bytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
