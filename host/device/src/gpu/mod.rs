//! The wgpu device: tensors in panels of GPU buffers, operations as WGSL kernels.
//!
//! Work is recorded and handed over tens of commands at a time; [`Device::read`] and
//! [`Device::synchronize`] wait for it. An error of the driver is therefore returned by the call that
//! notices it, which may be a later one than the call that caused it.

mod adapter;
mod context;
mod faults;
mod memory;
pub mod ops;
mod options;
mod packed;
mod panels;
mod pipelines;
mod pool;
pub mod products;
mod sizes;
mod timer;
mod transfer;
pub mod tune;
mod watchdog;

pub use adapter::{
    Adapter, AdapterFeatures, AdapterLimits, AdapterReport, AdapterType, Backend, ParseBackendError,
    enumerate,
};
pub use context::{Context, Dispatch};
pub use options::GpuOptions;
pub use packed::PackedPanels;
pub use panels::{Panels, Part, Segment, panels, segments};
pub use watchdog::was_abandoned;

use super::{
    Binding, Compute, DType, Device, DeviceInfo, DeviceKind, Input, KernelCall, LinearLayer, Op,
    PackedMatrix, Result, Tensor, check,
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
    /// The properties of an adapter.
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
        match tensor.storage::<PackedPanels>() {
            Ok(packed) => packed::guards_intact(&self.context, packed),
            Err(_) => self.context.guards_intact(panels(tensor)?),
        }
    }

    /// For each class of products met so far the kernel and tile that was picked, by name.
    pub fn tuned(&self) -> Vec<(String, String)> {
        self.tuner.picks()
    }

    /// The kernels for few tokens that were compared with those that they stand in for, with what they are compiled for, and whether
    /// they agree.
    pub fn agreed(&self) -> Vec<(String, bool)> {
        self.tuner.agreed()
    }

    /// The context that runs the kernels.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn zeros(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
        memory::zeros(&self.context, dtype, rows, cols)
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Result<Tensor> {
        memory::upload(&self.context, dtype, rows, cols, &bytes)
    }

    fn upload_packed(&self, matrix: PackedMatrix) -> Result<Tensor> {
        let matrix = matrix.checked()?;
        check::tensor_bytes("upload", matrix.dtype, matrix.rows(), matrix.cols, None)?;
        packed::upload(&self.context, &matrix)
    }

    fn read(&self, x: &Tensor) -> Result<Vec<u8>> {
        match x.storage::<PackedPanels>() {
            Ok(packed) => self.context.fetch(panels(&packed::expand(&self.context, packed)?)?),
            Err(_) => self.context.fetch(panels(x)?),
        }
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

    fn compute(&self, op: Op<&Tensor>, out: &mut Tensor) -> Result<()> {
        let (context, tuner) = (&self.context, &self.tuner);
        match op {
            Op::Convert { x } => memory::convert(context, x, out),
            Op::CopyRows { x, start } => memory::copy_rows(context, x, start, out),
            Op::ScatterRows { x, places } => ops::rows::scatter_rows(context, x, places, out),
            Op::Copy { from, to } => ops::rectangle::carry(context, from, out, to, false),
            Op::RmsNorm { x, weight, eps } => ops::rows::rms_norm(context, x, weight, eps, out),
            Op::Rope { table, positions, head_dim } => {
                ops::rope::rope(context, out, head_dim, table, positions)
            }
            Op::Attention { q, k, v, shape, spans } => {
                ops::attention::attention(context, &self.tiles, q, k, v, &shape, &spans, out)
            }
            Op::CrossEntropyGradient { logits, targets, factors } => {
                ops::rows::cross_entropy_gradient(context, logits, targets, factors, out)
            }
            Op::CrossEntropy { logits, targets } => ops::rows::cross_entropy(context, logits, targets, out),
            Op::JsDivergence { a, b } => ops::rows::js_divergence(context, a, b, out),
            Op::CausalSoftmax { scale, window } => ops::rows::causal_softmax(context, scale, window, out),
            Op::Map { x, f, scale, shift } => ops::elementwise::map(context, f, x, scale, shift, out),
            Op::Zip { a, b, f, op, alpha } => ops::elementwise::zip(context, f, a, op, alpha, b, out),
            Op::Reduce { x, f, axis, accumulate } => {
                ops::reduce::reduce(context, f, axis, x, accumulate, out)
            }
            Op::Update { b, f, scale, op, alpha } => {
                ops::elementwise::update(context, (f, scale), op, (alpha, b), out)
            }
            Op::Select { scores, selection } => ops::select::select(context, scores, selection, out),
            Op::SelectCounts { scores, counts } => ops::select::select_counts(context, scores, counts, out),
            Op::ZeroWhere { mask } => ops::select::zero_where(context, mask, out),
            Op::KthSmallest { scores, within, k } => ops::rank::kth_smallest(context, scores, within, k, out),
            Op::AtMost { scores, thresholds } => ops::rank::at_most(context, scores, thresholds, out),
            Op::Gram { x } => ops::matmul::gram(context, tuner, x, out),
            Op::Matmul { a, b, alpha, beta, to } => {
                let product = products::Product::new(alpha, a, b, beta, out, to);
                ops::matmul::run(context, tuner, product)
            }
            Op::Transpose { x } => ops::rectangle::transpose(context, x, out),
            Op::Reverse {} => ops::rectangle::reverse(context, out),
            Op::Diagonal { x } => ops::rectangle::diagonal(context, x, out),
            Op::AddDiagonal { d } => ops::rectangle::add_diagonal(context, d, out),
            Op::Cholesky {} => ops::factor::cholesky(context, tuner, out),
            Op::TriangularInverse {} => ops::factor::triangular_inverse(context, tuner, out),
            Op::SymmetricEigen { x } => ops::factor::symmetric_eigen(context, x, out),
            Op::TriangularSolve { l, transposed } => {
                ops::factor::triangular_solve(context, tuner, l, transposed, out)
            }
        }
    }

    fn compute_linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()> {
        ops::linear::linears(&self.context, &self.tuner, input, self.info.compute, layers)
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
