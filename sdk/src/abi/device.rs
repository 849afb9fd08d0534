//! The device at the border: the host's service on one side, the plugin's on the other.

use super::{
    AbiResult, guard,
    kernel::{KernelAbi, pack_kernel, unpack_kernel},
    types::{
        AXIS, BINARY, BlockAbi, REDUCTION, ScoresAbi, SelectionAbi, UNARY, WITHIN, dtype_from, from_code,
    },
};
use crate::{
    Axis, Binary, DType, DeviceKind, Error, Reduction, Result, Selection, Unary, Within,
    service::{Block, DeviceService, KernelCall, ScoreIds, TensorId},
};
use abi_stable::{
    sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, RSlice, RString, RVec},
};
use std::sync::Arc;

/// The operations of [`DeviceService`] with a stable layout. New ones come after the last, each with a
/// default that answers "unsupported".
#[sabi_trait]
pub trait DeviceAbi: Send + Sync {
    fn name(&self) -> RString;
    fn is_gpu(&self) -> bool;
    fn create(&self, dtype: u32, rows: u64, cols: u64) -> AbiResult<u64>;
    fn upload(&self, dtype: u32, rows: u64, cols: u64, bytes: RSlice<'_, u8>) -> AbiResult<u64>;
    fn read(&self, tensor: u64) -> AbiResult<RVec<u8>>;
    fn free(&self, tensor: u64);
    fn map(&self, f: u32, x: u64, scale: f32, shift: f32, out: u64) -> AbiResult<()>;
    fn zip(&self, f: u32, a: u64, op: u32, alpha: f32, b: u64, out: u64) -> AbiResult<()>;
    fn reduce(&self, f: u32, axis: u32, x: u64, accumulate: bool, out: u64) -> AbiResult<()>;
    fn select(&self, scores: ScoresAbi, selection: SelectionAbi, mask: u64) -> AbiResult<()>;
    fn zero_where(&self, mask: u64, x: u64) -> AbiResult<()>;
    fn matmul(&self, alpha: f32, a: BlockAbi, b: BlockAbi, beta: f32, c: BlockAbi) -> AbiResult<()>;
    fn copy(&self, from: BlockAbi, to: BlockAbi) -> AbiResult<()>;
    fn transpose(&self, x: u64, out: u64) -> AbiResult<()>;
    fn diagonal(&self, x: u64, out: u64) -> AbiResult<()>;
    fn add_diagonal(&self, d: u64, x: u64) -> AbiResult<()>;
    fn reverse(&self, x: u64) -> AbiResult<()>;
    fn cholesky(&self, x: u64) -> AbiResult<()>;
    fn triangular_inverse(&self, l: u64) -> AbiResult<()>;
    fn triangular_solve(&self, l: u64, transposed: bool, b: u64) -> AbiResult<()>;
    fn kth_smallest(&self, scores: ScoresAbi, within: u32, k: u64, out: u64) -> AbiResult<()>;
    fn at_most(&self, scores: ScoresAbi, thresholds: u64, mask: u64) -> AbiResult<()>;
    #[sabi(last_prefix_field)]
    fn run(
        &self,
        kernel: KernelAbi<'_>,
        bindings: RSlice<'_, u64>,
        params: RSlice<'_, u8>,
        workgroups: u32,
    ) -> AbiResult<()>;
}

/// A device as it crosses the border.
pub type DeviceBox = DeviceAbi_TO<'static, RBox<()>>;

/// Packs the host's device for a plugin.
pub(super) fn pack(service: Arc<dyn DeviceService>) -> DeviceBox {
    DeviceAbi_TO::from_value(HostSide(service), TD_Opaque)
}

/// Unpacks a device in a plugin.
pub(super) fn unpack(device: DeviceBox) -> Arc<dyn DeviceService> {
    Arc::new(PluginSide(device))
}

/// The host's end: takes stable types, calls the plain trait.
struct HostSide(Arc<dyn DeviceService>);

impl DeviceAbi for HostSide {
    fn name(&self) -> RString {
        guard(|| Ok(self.0.name().into())).unwrap_or_default()
    }

    fn is_gpu(&self) -> bool {
        self.0.kind() == DeviceKind::Gpu
    }

    fn create(&self, dtype: u32, rows: u64, cols: u64) -> AbiResult<u64> {
        guard(|| self.0.create(dtype_from(dtype)?, rows as usize, cols as usize))
    }

    fn upload(&self, dtype: u32, rows: u64, cols: u64, bytes: RSlice<'_, u8>) -> AbiResult<u64> {
        guard(|| self.0.upload(dtype_from(dtype)?, rows as usize, cols as usize, bytes.as_slice()))
    }

    fn read(&self, tensor: u64) -> AbiResult<RVec<u8>> {
        guard(|| Ok(self.0.read(tensor)?.into()))
    }

    fn free(&self, tensor: u64) {
        // A failure to free has nobody to be told: the tensor is gone either way.
        let _ = guard(|| {
            self.0.free(tensor);
            Ok(())
        });
    }

    fn map(&self, f: u32, x: u64, scale: f32, shift: f32, out: u64) -> AbiResult<()> {
        guard(|| self.0.map(from_code(f, &UNARY)?, x, scale, shift, out))
    }

    fn zip(&self, f: u32, a: u64, op: u32, alpha: f32, b: u64, out: u64) -> AbiResult<()> {
        guard(|| self.0.zip(from_code(f, &UNARY)?, a, from_code(op, &BINARY)?, alpha, b, out))
    }

    fn reduce(&self, f: u32, axis: u32, x: u64, accumulate: bool, out: u64) -> AbiResult<()> {
        guard(|| self.0.reduce(from_code(f, &REDUCTION)?, from_code(axis, &AXIS)?, x, accumulate, out))
    }

    fn select(&self, scores: ScoresAbi, selection: SelectionAbi, mask: u64) -> AbiResult<()> {
        guard(|| self.0.select(scores.try_into()?, selection.try_into()?, mask))
    }

    fn zero_where(&self, mask: u64, x: u64) -> AbiResult<()> {
        guard(|| self.0.zero_where(mask, x))
    }

    fn matmul(&self, alpha: f32, a: BlockAbi, b: BlockAbi, beta: f32, c: BlockAbi) -> AbiResult<()> {
        guard(|| self.0.matmul(alpha, a.into(), b.into(), beta, c.into()))
    }

    fn copy(&self, from: BlockAbi, to: BlockAbi) -> AbiResult<()> {
        guard(|| self.0.copy(from.into(), to.into()))
    }

    fn transpose(&self, x: u64, out: u64) -> AbiResult<()> {
        guard(|| self.0.transpose(x, out))
    }

    fn diagonal(&self, x: u64, out: u64) -> AbiResult<()> {
        guard(|| self.0.diagonal(x, out))
    }

    fn add_diagonal(&self, d: u64, x: u64) -> AbiResult<()> {
        guard(|| self.0.add_diagonal(d, x))
    }

    fn reverse(&self, x: u64) -> AbiResult<()> {
        guard(|| self.0.reverse(x))
    }

    fn cholesky(&self, x: u64) -> AbiResult<()> {
        guard(|| self.0.cholesky(x))
    }

    fn triangular_inverse(&self, l: u64) -> AbiResult<()> {
        guard(|| self.0.triangular_inverse(l))
    }

    fn triangular_solve(&self, l: u64, transposed: bool, b: u64) -> AbiResult<()> {
        guard(|| self.0.triangular_solve(l, transposed, b))
    }

    fn kth_smallest(&self, scores: ScoresAbi, within: u32, k: u64, out: u64) -> AbiResult<()> {
        guard(|| self.0.kth_smallest(scores.try_into()?, from_code(within, &WITHIN)?, k as usize, out))
    }

    fn at_most(&self, scores: ScoresAbi, thresholds: u64, mask: u64) -> AbiResult<()> {
        guard(|| self.0.at_most(scores.try_into()?, thresholds, mask))
    }

    fn run(
        &self,
        kernel: KernelAbi<'_>,
        bindings: RSlice<'_, u64>,
        params: RSlice<'_, u8>,
        workgroups: u32,
    ) -> AbiResult<()> {
        guard(|| {
            unpack_kernel(kernel, |kernel| {
                self.0.run(kernel, bindings.as_slice(), params.as_slice(), workgroups)
            })
        })
    }
}

/// The plugin's end: offers the plain trait, calls through stable types.
struct PluginSide(DeviceBox);

impl DeviceService for PluginSide {
    fn name(&self) -> String {
        self.0.name().into()
    }

    fn kind(&self) -> DeviceKind {
        if self.0.is_gpu() { DeviceKind::Gpu } else { DeviceKind::Cpu }
    }

    fn create(&self, dtype: DType, rows: usize, cols: usize) -> Result<TensorId> {
        plain(self.0.create(dtype.code(), rows as u64, cols as u64))
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<TensorId> {
        plain(self.0.upload(dtype.code(), rows as u64, cols as u64, bytes.into()))
    }

    fn read(&self, tensor: TensorId) -> Result<Vec<u8>> {
        plain(self.0.read(tensor)).map(RVec::into_vec)
    }

    fn free(&self, tensor: TensorId) {
        self.0.free(tensor);
    }

    fn map(&self, f: Unary, x: TensorId, scale: f32, shift: f32, out: TensorId) -> Result<()> {
        plain(self.0.map(f as u32, x, scale, shift, out))
    }

    fn zip(&self, f: Unary, a: TensorId, op: Binary, alpha: f32, b: TensorId, out: TensorId) -> Result<()> {
        plain(self.0.zip(f as u32, a, op as u32, alpha, b, out))
    }

    fn reduce(&self, f: Reduction, axis: Axis, x: TensorId, accumulate: bool, out: TensorId) -> Result<()> {
        plain(self.0.reduce(f as u32, axis as u32, x, accumulate, out))
    }

    fn select(&self, scores: ScoreIds, selection: Selection, mask: TensorId) -> Result<()> {
        plain(self.0.select(scores.into(), selection.into(), mask))
    }

    fn zero_where(&self, mask: TensorId, x: TensorId) -> Result<()> {
        plain(self.0.zero_where(mask, x))
    }

    fn matmul(&self, alpha: f32, a: Block, b: Block, beta: f32, c: Block) -> Result<()> {
        plain(self.0.matmul(alpha, a.into(), b.into(), beta, c.into()))
    }

    fn copy(&self, from: Block, to: Block) -> Result<()> {
        plain(self.0.copy(from.into(), to.into()))
    }

    fn transpose(&self, x: TensorId, out: TensorId) -> Result<()> {
        plain(self.0.transpose(x, out))
    }

    fn diagonal(&self, x: TensorId, out: TensorId) -> Result<()> {
        plain(self.0.diagonal(x, out))
    }

    fn add_diagonal(&self, d: TensorId, x: TensorId) -> Result<()> {
        plain(self.0.add_diagonal(d, x))
    }

    fn reverse(&self, x: TensorId) -> Result<()> {
        plain(self.0.reverse(x))
    }

    fn cholesky(&self, x: TensorId) -> Result<()> {
        plain(self.0.cholesky(x))
    }

    fn triangular_inverse(&self, l: TensorId) -> Result<()> {
        plain(self.0.triangular_inverse(l))
    }

    fn triangular_solve(&self, l: TensorId, transposed: bool, b: TensorId) -> Result<()> {
        plain(self.0.triangular_solve(l, transposed, b))
    }

    fn kth_smallest(&self, scores: ScoreIds, within: Within, k: usize, out: TensorId) -> Result<()> {
        plain(self.0.kth_smallest(scores.into(), within as u32, k as u64, out))
    }

    fn at_most(&self, scores: ScoreIds, thresholds: TensorId, mask: TensorId) -> Result<()> {
        plain(self.0.at_most(scores.into(), thresholds, mask))
    }

    fn run(&self, kernel: &KernelCall, bindings: &[TensorId], params: &[u8], workgroups: u32) -> Result<()> {
        pack_kernel(kernel, |kernel| plain(self.0.run(kernel, bindings.into(), params.into(), workgroups)))
    }
}

/// A result from over the border.
pub(super) fn plain<T>(result: AbiResult<T>) -> Result<T> {
    result.into_result().map_err(Error::from)
}
