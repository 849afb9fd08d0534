//! Tensors and the operations on them, behind one trait with two implementations: [`gpu`] (wgpu)
//! and [`cpu`] (native, multi-threaded). Both compute with the kernels of `espalier-shaders`.
//!
//! An operation is a value, an [`Op`], which names its inputs; it writes to a tensor that its caller made. Reductions have a
//! fixed order: the same inputs on the same device give the same bytes.

mod budget;
pub mod check;
pub mod choose;
pub mod cpu;
mod error;
pub mod gpu;
mod operands;
mod packed;
mod profiled;
mod tensor;

pub use error::{DeviceError, Result};
pub use gpu::was_abandoned;
pub use operands::{Binding, Input, LinearLayer, Norm, Onto, Operand, Scores};
pub use packed::PackedMatrix;
pub use profiled::Profiled;
pub use tensor::{Storage, Tensor};

pub use espalier_ops::{
    AttentionShape, Axis, Binary, DType, Op, OperandError, Reduction, Repeat, Selection, Span, Unary, Within,
};
pub use espalier_sdk::{DeviceKind, service::KernelCall};

pub use espalier_shaders::Compute;

/// Taking a matrix's zeros out.
pub mod packing {
    pub use espalier_shaders::{count_kept, mask_bytes, split_row};
}

use bytes::Bytes;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// The properties of a device.
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
    /// The type that operands of products with weights are rounded to.
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

/// A device: memory, and the operations on it.
pub trait Device: Send + Sync {
    /// The device's properties.
    fn info(&self) -> &DeviceInfo;

    // Memory.

    /// A tensor of zeros.
    fn zeros(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor>;

    /// A tensor with these little-endian bytes, which the CPU shares instead of copying where it can.
    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Result<Tensor>;

    /// A tensor of a matrix whose zeros are left out. Products read it as it is where that is faster; a device that has no such
    /// kernels is given every element.
    ///
    /// # Errors
    /// Parts that do not fit together, or a failing device.
    fn upload_packed(&self, packed: PackedMatrix) -> Result<Tensor> {
        let bytes = packed.checked()?.expand();
        self.upload(packed.dtype, packed.rows(), packed.cols, bytes)
    }

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

    /// Computes an operation whose operands [fit](Op::check). Callers use [`execute`](Self::execute).
    ///
    /// # Errors
    /// [`DeviceError::NotPositiveDefinite`], an operation that this device does not support, or a failing device.
    fn compute(&self, op: Op<&Tensor>, out: &mut Tensor) -> Result<()>;

    /// Computes an operation.
    ///
    /// # Errors
    /// Operands that do not fit; [`DeviceError::NotPositiveDefinite`], an operation that this device does not support,
    /// or a failing device.
    fn execute(&self, op: Op<&Tensor>, out: &mut Tensor) -> Result<()> {
        op.check(out).map_err(DeviceError::operand(op.name()))?;
        self.compute(op, out)
    }

    /// Computes linear layers whose operands fit. Callers use [`linears`](Self::linears).
    ///
    /// # Errors
    /// A failing device.
    fn compute_linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()>;

    /// `y = x · wᵀ (+ bias)` for every layer, or what its [`Onto`] says: the one operation with several outputs. x,
    /// normalised if there is a norm, and weights are rounded to the type of products ([`DeviceInfo::compute`]).
    ///
    /// # Errors
    /// Operands that do not fit, or a failing device.
    fn linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()> {
        check::linears(&input, layers)?;
        self.compute_linears(input, layers)
    }

    /// `y = x · wᵀ (+ bias) (+ y if accumulate)`: x `[tokens, in]`, w `[out, in]`, bias `[1, out]`, y `[tokens, out]`.
    ///
    /// # Errors
    /// As [`linears`](Self::linears).
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
        OperandError::expect_type(x, &[DType::F32]).map_err(DeviceError::operand("to_f32"))?;
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
