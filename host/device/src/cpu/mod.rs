//! The native device: the CPU twins of the kernels over host memory, on all cores.

mod compute;
mod linears;
mod memory;
mod plugin;
mod processor;
mod words;

pub use memory::Memory;

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Binding, Compute, DType, Device, DeviceInfo, Input, KernelCall, LinearLayer, Op, PackedMatrix, Result,
    Tensor, check,
};
use memory::{Meter, memory};

/// The processors of this machine. Its tensors share the bytes they were made of, so that a mapped
/// checkpoint is never copied as a whole.
#[derive(Debug)]
pub struct Cpu {
    info: DeviceInfo,
    meter: Arc<Meter>,
}

impl Cpu {
    /// The device; it needs nothing.
    pub fn new() -> Self {
        Self::computing(Compute::F32)
    }

    /// The device, with products whose operands are rounded to this type.
    pub fn computing(compute: Compute) -> Self {
        if compute == Compute::BF16 && !espalier_shaders::multiplies_bf16() {
            tracing::info!(
                "bf16 operands are multiplied as f32, which is as fast or faster on this processor"
            );
        }
        Self { info: processor::info(compute), meter: Arc::default() }
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for Cpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn zeros(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
        let bytes = check::tensor_bytes("zeros", dtype, rows, cols, None)?;
        let memory = Memory::zeros(bytes, &self.meter)?;
        Ok(Tensor::new(dtype, rows, cols, memory))
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Result<Tensor> {
        check::tensor_bytes("upload", dtype, rows, cols, Some(bytes.len()))?;
        let memory = Memory::upload(dtype, bytes, &self.meter)?;
        Ok(Tensor::new(dtype, rows, cols, memory))
    }

    fn upload_packed(&self, packed: PackedMatrix) -> Result<Tensor> {
        let packed = packed.checked()?;
        let (dtype, rows, cols) = (packed.dtype, packed.rows(), packed.cols);
        let bytes = check::tensor_bytes("upload", dtype, rows, cols, None)?;
        Ok(Tensor::new(dtype, rows, cols, Memory::packed(packed, bytes, &self.meter)))
    }

    fn read(&self, x: &Tensor) -> Result<Vec<u8>> {
        Ok(memory(x)?.as_bytes()?.to_vec())
    }

    fn synchronize(&self) -> Result<()> {
        // Every operation is done when it returns.
        Ok(())
    }

    fn peak_bytes(&self) -> u64 {
        self.meter.peak()
    }

    fn set_budget(&self, bytes: Option<u64>) {
        self.meter.set_budget(bytes);
    }

    fn compute(&self, op: Op<&Tensor>, out: &mut Tensor) -> Result<()> {
        compute::compute(op, out)
    }

    fn compute_linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()> {
        linears::linears(input, self.info.compute, layers)
    }

    fn run(&self, kernel: &KernelCall, bindings: &mut [Binding], params: &[u8], _: u32) -> Result<()> {
        plugin::run(kernel, bindings, params)
    }
}
