//! The wgpu device: tensors in panels of GPU buffers, operations as WGSL kernels.
//!
//! Work is recorded and handed over tens of commands at a time; [`Device::read`] and
//! [`Device::synchronize`] wait for it. An error of the driver is therefore returned by the call that
//! notices it, which may be a later one than the call that caused it.

mod adapter;
mod context;
mod faults;
pub mod ops;
mod panels;
mod pipelines;
mod pool;
mod timer;
mod transfer;
pub mod tune;
mod watchdog;

pub use adapter::{
    Adapter, AdapterFeatures, AdapterLimits, AdapterReport, AdapterType, Backend, ParseBackendError,
    enumerate,
};
pub use context::{Context, Dispatch};
pub use panels::{Panels, Part, Segment, panels, segments};
pub use watchdog::was_abandoned;

use super::{
    AttentionShape, Axis, Binary, Binding, Compute, DType, Device, DeviceInfo, DeviceKind, Input, KernelCall,
    LinearLayer, Operand, Reduction, Result, Scores, Selection, Span, Tensor, Unary, Within,
};
use bytes::Bytes;
use std::sync::Arc;

/// A GPU reached through wgpu.
#[derive(Debug)]
pub struct Gpu {
    info: DeviceInfo,
    // What it is opened from again, should it be lost.
    adapter: Adapter,
    options: GpuOptions,
    context: Context,
    tuner: tune::Tuner,
    tiles: ops::attention::TileCache,
    plugin_kernels: ops::plugin::PluginKernels,
}

impl DeviceInfo {
    /// What an adapter says of itself.
    pub fn of_adapter(report: &AdapterReport, compute: Compute) -> Self {
        Self {
            name: report.name.clone(),
            kind: DeviceKind::Gpu,
            backend: report.backend.to_string(),
            driver: format!("{} {}", report.driver, report.driver_info).trim().to_owned(),
            compute,
            memory_bytes: report.memory_bytes,
        }
    }
}

/// How a GPU is opened.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// What products with weights round their operands to.
    pub compute: Compute,
    /// Lowers the most bytes that are bound at once, so that tests see tensors of several panels.
    pub panel_limit: Option<u64>,
    /// Puts words past the end of every panel, within what kernels see, that
    /// [`Gpu::guards_intact`] finds changed when a kernel wrote past its tensor.
    pub guard_bytes: u64,
    /// Whether kernels are tuned for the adapter.
    pub tuning: tune::Tuning,
}

impl Gpu {
    /// Opens an adapter.
    ///
    /// # Errors
    /// It lacks immediate data, or the driver refuses.
    pub fn open(adapter: &Adapter, options: GpuOptions) -> Result<Self> {
        let info = DeviceInfo::of_adapter(adapter.report(), options.compute);
        let context = Context::open(adapter, &options)?;
        Ok(Self {
            info,
            adapter: adapter.clone(),
            tuner: tune::Tuner::new(adapter, context.limits(), &options),
            options,
            context,
            tiles: ops::attention::TileCache::default(),
            plugin_kernels: Default::default(),
        })
    }

    /// Whether no kernel wrote past the end of a tensor; see [`GpuOptions::guard_bytes`].
    ///
    /// # Errors
    /// The device failed.
    pub fn guards_intact(&self, tensor: &Tensor) -> Result<bool> {
        self.context.guards_intact(panels("guards", tensor)?)
    }

    /// For each class of products met so far the kernel and tile that was picked, by name.
    pub fn tuned(&self) -> Vec<(String, String)> {
        self.tuner.picks()
    }

    /// What runs the kernels.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn zeros(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
        ops::memory::zeros(&self.context, dtype, rows, cols)
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Result<Tensor> {
        ops::memory::upload(&self.context, dtype, rows, cols, &bytes)
    }

    fn read(&self, x: &Tensor) -> Result<Vec<u8>> {
        self.context.fetch(panels("read", x)?)
    }

    fn synchronize(&self) -> Result<()> {
        self.context.finish("synchronize")
    }

    fn time_kernels(&self) -> Result<bool> {
        self.context.time_kernels(true)
    }

    fn kernel_seconds(&self) -> Option<f64> {
        self.context.kernel_seconds()
    }

    fn peak_bytes(&self) -> u64 {
        self.context.pool().peak_bytes()
    }

    fn set_budget(&self, bytes: Option<u64>) {
        self.context.pool().set_budget(bytes);
    }

    fn is_lost(&self) -> bool {
        self.context.is_lost()
    }

    fn is_stuck(&self) -> bool {
        self.context.is_stuck()
    }

    fn reopen(&self) -> Result<Arc<dyn Device>> {
        let again = Self::open(&self.adapter, self.options.clone());
        match again {
            Ok(gpu) => Ok(Arc::new(gpu)),
            // Some drivers come back as another adapter.
            Err(error) => {
                let report = self.adapter.report();
                let adapters = enumerate(&[report.backend]);
                let same = adapters.iter().find(|adapter| adapter.report().name == report.name);
                Ok(Arc::new(Self::open(same.ok_or(error)?, self.options.clone())?))
            }
        }
    }

    fn convert(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        ops::memory::convert(&self.context, x, out)
    }

    fn copy_rows(&self, x: &Tensor, start: usize, out: &mut Tensor) -> Result<()> {
        ops::memory::copy_rows(&self.context, x, start, out)
    }

    fn scatter_rows(&self, x: &Tensor, places: &Tensor, out: &mut Tensor) -> Result<()> {
        ops::rows::scatter_rows(&self.context, x, places, out)
    }

    fn linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()> {
        ops::linear::linears(&self.context, &self.tuner, input, self.info.compute, layers)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32, y: &mut Tensor) -> Result<()> {
        ops::rows::rms_norm(&self.context, x, weight, eps, y)
    }

    fn rope(&self, x: &mut Tensor, head_dim: usize, table: &Tensor, positions: &Tensor) -> Result<()> {
        ops::rope::rope(&self.context, x, head_dim, table, positions)
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
        ops::attention::attention(&self.context, &self.tiles, q, k, v, shape, spans, out)
    }

    fn cross_entropy(&self, logits: &Tensor, targets: &Tensor, loss: &mut Tensor) -> Result<()> {
        ops::rows::cross_entropy(&self.context, logits, targets, loss)
    }

    fn js_divergence(&self, a: &Tensor, b: &Tensor, out: &mut Tensor) -> Result<()> {
        ops::rows::js_divergence(&self.context, a, b, out)
    }

    fn map(&self, f: Unary, x: &Tensor, scale: f32, shift: f32, out: &mut Tensor) -> Result<()> {
        ops::elementwise::map(&self.context, f, x, scale, shift, out)
    }

    fn zip(&self, f: Unary, a: &Tensor, op: Binary, alpha: f32, b: &Tensor, out: &mut Tensor) -> Result<()> {
        ops::elementwise::zip(&self.context, f, a, op, alpha, b, out)
    }

    fn reduce(&self, f: Reduction, axis: Axis, x: &Tensor, accumulate: bool, out: &mut Tensor) -> Result<()> {
        ops::reduce::reduce(&self.context, f, axis, x, accumulate, out)
    }

    fn select(&self, scores: Scores, selection: Selection, mask: &mut Tensor) -> Result<()> {
        ops::select::select(&self.context, scores, selection, mask)
    }

    fn zero_where(&self, mask: &Tensor, x: &mut Tensor) -> Result<()> {
        ops::select::zero_where(&self.context, mask, x)
    }

    fn kth_smallest(&self, scores: Scores, within: Within, k: usize, out: &mut Tensor) -> Result<()> {
        ops::rank::kth_smallest(&self.context, scores, within, k, out)
    }

    fn at_most(&self, scores: Scores, thresholds: &Tensor, mask: &mut Tensor) -> Result<()> {
        ops::rank::at_most(&self.context, scores, thresholds, mask)
    }

    fn gram(&self, x: &Tensor, gram: &mut Tensor) -> Result<()> {
        ops::matmul::gram(&self.context, &self.tuner, x, gram)
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
        ops::matmul::matmul(&self.context, &self.tuner, alpha, a, b, beta, c, to)
    }

    fn copy(&self, from: Operand, out: &mut Tensor, to: (usize, usize)) -> Result<()> {
        ops::rectangle::copy(&self.context, &from, out, to)
    }

    fn transpose(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        ops::rectangle::transpose(&self.context, x, out)
    }

    fn reverse(&self, x: &mut Tensor) -> Result<()> {
        ops::rectangle::reverse(&self.context, x)
    }

    fn diagonal(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        ops::rectangle::diagonal(&self.context, x, out)
    }

    fn add_diagonal(&self, d: &Tensor, x: &mut Tensor) -> Result<()> {
        ops::rectangle::add_diagonal(&self.context, d, x)
    }

    fn cholesky(&self, x: &mut Tensor) -> Result<()> {
        ops::factor::cholesky(&self.context, &self.tuner, x)
    }

    fn triangular_inverse(&self, l: &mut Tensor) -> Result<()> {
        ops::factor::triangular_inverse(&self.context, &self.tuner, l)
    }

    fn triangular_solve(&self, l: &Tensor, transposed: bool, b: &mut Tensor) -> Result<()> {
        ops::factor::triangular_solve(&self.context, &self.tuner, l, transposed, b)
    }

    fn run(
        &self,
        kernel: &KernelCall,
        bindings: &mut [Binding],
        params: &[u8],
        workgroups: u32,
    ) -> Result<()> {
        ops::plugin::run(&self.context, &self.plugin_kernels, kernel, bindings, params, workgroups)
    }
}
