//! The native device: the CPU twins of the kernels over host memory, on all cores.

mod algebra;
mod forward;
mod memory;
mod processor;
mod pruning;

pub use memory::Memory;

use std::sync::Arc;

use bytes::Bytes;

use super::{
    AttentionShape, Axis, Binary, Binding, Compute, DType, Device, DeviceInfo, Input, KernelCall,
    LinearLayer, Operand, Reduction, Result, Scores, Selection, Span, Storage, Tensor, Unary, Within, check,
};
use memory::{Meter, memory, memory_mut};

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
        Ok(Tensor::new(dtype, rows, cols, Storage::Cpu(memory)))
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Result<Tensor> {
        check::tensor_bytes("upload", dtype, rows, cols, Some(bytes.len()))?;
        let memory = Memory::upload(dtype, bytes, &self.meter)?;
        Ok(Tensor::new(dtype, rows, cols, Storage::Cpu(memory)))
    }

    fn read(&self, x: &Tensor) -> Result<Vec<u8>> {
        Ok(memory("read", x)?.as_bytes().to_vec())
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

    fn convert(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        forward::convert(x, out)
    }

    fn copy_rows(&self, x: &Tensor, start: usize, out: &mut Tensor) -> Result<()> {
        check::copy_rows(x, start, out)?;
        let start = start * x.cols() * x.dtype().size();
        let out = memory_mut("copy_rows", out)?.as_bytes_mut()?;
        out.copy_from_slice(&memory("copy_rows", x)?.as_bytes()[start..start + out.len()]);
        Ok(())
    }

    fn scatter_rows(&self, x: &Tensor, places: &Tensor, out: &mut Tensor) -> Result<()> {
        forward::scatter_rows(x, places, out)
    }

    fn linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()> {
        forward::linears(input, self.info.compute, layers)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32, y: &mut Tensor) -> Result<()> {
        forward::rms_norm(x, weight, eps, y)
    }

    fn rope(&self, x: &mut Tensor, head_dim: usize, table: &Tensor, positions: &Tensor) -> Result<()> {
        forward::rope(x, head_dim, table, positions)
    }

    fn attention(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        shape: &AttentionShape,
        spans: &[Span],
        out: &mut Tensor,
    ) -> Result<()> {
        forward::attention(q, k, v, shape, spans, out)
    }

    fn cross_entropy(&self, logits: &Tensor, targets: &Tensor, loss: &mut Tensor) -> Result<()> {
        forward::cross_entropy(logits, targets, loss)
    }

    fn js_divergence(&self, a: &Tensor, b: &Tensor, out: &mut Tensor) -> Result<()> {
        forward::js_divergence(a, b, out)
    }

    fn map(&self, f: Unary, x: &Tensor, scale: f32, shift: f32, out: &mut Tensor) -> Result<()> {
        pruning::map(f, x, scale, shift, out)
    }

    fn zip(&self, f: Unary, a: &Tensor, op: Binary, alpha: f32, b: &Tensor, out: &mut Tensor) -> Result<()> {
        pruning::zip(f, a, op, alpha, b, out)
    }

    fn reduce(&self, f: Reduction, axis: Axis, x: &Tensor, accumulate: bool, out: &mut Tensor) -> Result<()> {
        pruning::reduce(f, axis, x, accumulate, out)
    }

    fn select(&self, scores: Scores, selection: Selection, mask: &mut Tensor) -> Result<()> {
        pruning::select(scores, selection, mask)
    }

    fn zero_where(&self, mask: &Tensor, x: &mut Tensor) -> Result<()> {
        pruning::zero_where(mask, x)
    }

    fn kth_smallest(&self, scores: Scores, within: Within, k: usize, out: &mut Tensor) -> Result<()> {
        algebra::kth_smallest(scores, within, k, out)
    }

    fn at_most(&self, scores: Scores, thresholds: &Tensor, mask: &mut Tensor) -> Result<()> {
        algebra::at_most(scores, thresholds, mask)
    }

    fn gram(&self, x: &Tensor, gram: &mut Tensor) -> Result<()> {
        algebra::gram(x, gram)
    }

    fn matmul(
        &self,
        alpha: f32,
        a: Operand,
        b: Operand,
        beta: f32,
        c: &mut Tensor,
        to: (usize, usize),
    ) -> Result<()> {
        algebra::matmul(alpha, &a, &b, beta, c, to)
    }

    fn copy(&self, from: Operand, out: &mut Tensor, to: (usize, usize)) -> Result<()> {
        algebra::copy(&from, out, to)
    }

    fn transpose(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        algebra::transpose(x, out)
    }

    fn reverse(&self, x: &mut Tensor) -> Result<()> {
        algebra::reverse(x)
    }

    fn diagonal(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        algebra::diagonal(x, out)
    }

    fn add_diagonal(&self, d: &Tensor, x: &mut Tensor) -> Result<()> {
        algebra::add_diagonal(d, x)
    }

    fn cholesky(&self, x: &mut Tensor) -> Result<()> {
        algebra::cholesky(x)
    }

    fn triangular_inverse(&self, l: &mut Tensor) -> Result<()> {
        algebra::triangular_inverse(l)
    }

    fn triangular_solve(&self, l: &Tensor, transposed: bool, b: &mut Tensor) -> Result<()> {
        algebra::triangular_solve(l, transposed, b)
    }

    fn run(&self, kernel: &KernelCall, bindings: &mut [Binding], params: &[u8], _: u32) -> Result<()> {
        algebra::run(kernel, bindings, params)
    }
}
