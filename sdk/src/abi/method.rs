//! Methods at the border.

use super::{
    AbiResult,
    device::{self, DeviceBox},
    error::{MAX_TEXTS, bounded},
    guard, plain,
    types::{OptionF64, TensorAbi, dtype_from},
};
use crate::{
    DType, Device, Error, Layer, Order, Pruned, PruningMethod, Result, Sparsity, Statistic, Statistics,
    Tensor,
    service::{DeviceService, TensorId},
};
use abi_stable::{
    StableAbi, sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, ROk, RString, RVec, Tuple2},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// [`Layer`] with a stable layout. The tensors stay the host's.
#[repr(C)]
#[derive(StableAbi)]
pub struct LayerAbi {
    name: RString,
    block: u64,
    weight: TensorAbi,
    tokens: u64,
    statistics: RVec<Tuple2<u32, TensorAbi>>,
}

/// [`Pruned`] with a stable layout. The weight becomes the host's.
#[repr(C)]
#[derive(StableAbi)]
pub struct PrunedAbi {
    weight: TensorAbi,
    error: OptionF64,
    numbers: RVec<Tuple2<RString, f64>>,
    notes: RVec<RString>,
}

/// [`Sparsity`] with a stable layout: a pattern where `m` is not 0.
#[repr(C)]
#[derive(Debug, StableAbi, Clone, Copy)]
pub struct SparsityAbi {
    ratio: f64,
    n: u64,
    m: u64,
}

impl From<Sparsity> for SparsityAbi {
    fn from(sparsity: Sparsity) -> Self {
        match sparsity {
            Sparsity::Ratio(ratio) => Self { ratio, n: 0, m: 0 },
            Sparsity::Pattern { n, m } => Self { ratio: 0.0, n: n as u64, m: m as u64 },
        }
    }
}

impl From<SparsityAbi> for Sparsity {
    fn from(abi: SparsityAbi) -> Self {
        match abi.m {
            0 => Self::Ratio(abi.ratio),
            m => Self::Pattern { n: abi.n as usize, m: m as usize },
        }
    }
}

/// [`PruningMethod`] with a stable layout.
#[sabi_trait]
pub trait MethodAbi: Send + Sync {
    fn is_true_sequential(&self) -> AbiResult<bool>;
    #[sabi(last_prefix_field)]
    fn prune(&self, layer: LayerAbi, target: SparsityAbi, device: DeviceBox) -> AbiResult<PrunedAbi>;
    /// Ends the method: its destructor runs here, where a panic is an error.
    fn close(&mut self) -> AbiResult<()> {
        ROk(())
    }
}

/// A method as it crosses the border.
pub type MethodBox = MethodAbi_TO<'static, RBox<()>>;

/// Packs a plugin's method for the host.
pub(super) fn pack_method(method: Box<dyn PruningMethod>) -> MethodBox {
    MethodAbi_TO::from_value(MethodSide(Some(method)), TD_Opaque)
}

/// The plugin's end; empty once it is closed.
struct MethodSide(Option<Box<dyn PruningMethod>>);

impl MethodSide {
    fn method(&self) -> Result<&dyn PruningMethod> {
        self.0.as_deref().ok_or_else(|| Error::invalid("the method has been closed"))
    }

    /// Drops the method; its panic must not reach the border, where it would end the process.
    fn end(&mut self) -> AbiResult<()> {
        let method = self.0.take();
        guard(move || {
            drop(method);
            Ok(())
        })
    }
}

impl Drop for MethodSide {
    fn drop(&mut self) {
        // `close` tells the host of a panic; here nobody can be told.
        let _ = self.end();
    }
}

impl MethodAbi for MethodSide {
    fn is_true_sequential(&self) -> AbiResult<bool> {
        guard(|| Ok(self.method()?.order() == Order::TrueSequential))
    }

    fn prune(&self, layer: LayerAbi, target: SparsityAbi, device: DeviceBox) -> AbiResult<PrunedAbi> {
        guard(|| {
            let device = Device::new(device::unpack(device));
            let borrow = |tensor: TensorAbi| -> Result<Tensor> {
                let dtype = dtype_from(tensor.dtype)?;
                Ok(device.tensor(tensor.id, false, dtype, tensor.rows as usize, tensor.cols as usize))
            };
            let mut statistics = Statistics::default();
            statistics.tokens = layer.tokens;
            for Tuple2(code, tensor) in layer.statistics {
                // A statistic this plugin's SDK does not know was not asked for by it either.
                if let Some(slot) = Statistic::from_code(code).map(|kind| statistics.slot(kind)) {
                    *slot = Some(borrow(tensor)?);
                }
            }
            let layer = Layer {
                name: layer.name.into(),
                block: layer.block as usize,
                weight: borrow(layer.weight)?,
                statistics,
            };
            let target = Sparsity::from(target);
            let Pruned { weight, error, numbers, notes } = self.method()?.prune(&layer, target, &device)?;
            Ok(PrunedAbi {
                weight: TensorAbi {
                    dtype: weight.dtype().code(),
                    rows: weight.rows() as u64,
                    cols: weight.cols() as u64,
                    id: weight.into_id(),
                },
                error: error.into(),
                numbers: numbers.into_iter().map(|(name, number)| Tuple2(name.into(), number)).collect(),
                notes: notes.into_iter().map(RString::from).collect(),
            })
        })
    }

    fn close(&mut self) -> AbiResult<()> {
        self.end()
    }
}

/// A tensor of the host's, as it names it to a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorHandle {
    /// The id in the host's [`DeviceService`].
    pub id: TensorId,
    /// The element type.
    pub dtype: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl From<TensorHandle> for TensorAbi {
    fn from(handle: TensorHandle) -> Self {
        Self { id: handle.id, dtype: handle.dtype.code(), rows: handle.rows as u64, cols: handle.cols as u64 }
    }
}

/// A method of a loaded library.
pub struct LoadedMethod(pub(super) MethodBox);

impl fmt::Debug for LoadedMethod {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("LoadedMethod").finish_non_exhaustive()
    }
}

/// A loaded method's result for a layer; the weight is a tensor of the host's service now.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoadedPruned {
    /// The new weight.
    pub weight: TensorHandle,
    /// The method's own measure of what pruning cost this layer.
    pub error: Option<f64>,
    /// Other numbers for the manifest, by name.
    pub numbers: BTreeMap<String, f64>,
    /// Remarks for the run's log and manifest.
    pub notes: Vec<String>,
}

impl LoadedMethod {
    /// When a layer's statistics are taken; see [`PruningMethod::order`].
    ///
    /// # Errors
    /// The method panics.
    pub fn order(&self) -> Result<Order> {
        let true_sequential = plain(self.0.is_true_sequential())?;
        Ok(if true_sequential { Order::TrueSequential } else { Order::Block })
    }

    /// Prunes one layer; see [`PruningMethod::prune`]. The tensors are the caller's before and after.
    ///
    /// # Errors
    /// Errors of the method, its panics included.
    pub fn prune(
        &self,
        name: &str,
        block: usize,
        weight: TensorHandle,
        tokens: u64,
        statistics: &[(Statistic, TensorHandle)],
        target: Sparsity,
        device: Arc<dyn DeviceService>,
    ) -> Result<LoadedPruned> {
        let layer = LayerAbi {
            name: name.into(),
            block: block as u64,
            weight: weight.into(),
            tokens,
            statistics: statistics.iter().map(|&(kind, tensor)| Tuple2(kind.code(), tensor.into())).collect(),
        };
        let pruned = plain(self.0.prune(layer, target.into(), device::pack(device)))?;
        Ok(LoadedPruned {
            weight: TensorHandle {
                id: pruned.weight.id,
                dtype: dtype_from(pruned.weight.dtype)?,
                rows: pruned.weight.rows as usize,
                cols: pruned.weight.cols as usize,
            },
            error: pruned.error.into_option(),
            numbers: pruned.numbers.into_iter().map(|Tuple2(name, number)| (name.into(), number)).collect(),
            notes: pruned.notes.into_iter().take(MAX_TEXTS).map(bounded).collect(),
        })
    }

    /// Ends the method.
    ///
    /// # Errors
    /// Its destructor panics.
    pub fn close(mut self) -> Result<()> {
        plain(self.0.close())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparsities_survive_the_border() {
        for sparsity in [Sparsity::Ratio(0.0), Sparsity::Ratio(0.1 + 0.2), Sparsity::Pattern { n: 2, m: 4 }] {
            assert_eq!(Sparsity::from(SparsityAbi::from(sparsity)), sparsity);
        }
    }
}
