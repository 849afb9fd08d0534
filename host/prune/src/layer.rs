//! Pruning one linear layer: over the plugin border and back, checked, rounded and written.

use super::{Plan, PruneError, Result, statistics::Measured, weights};
use espalier_base::{
    interrupt,
    profile::{self, Kind},
    text,
};
use espalier_device::{DType, Op, Tensor};
use espalier_model::{
    CheckpointWriter, Linear, Llama,
    layout::{LayerInput, Projection},
};
use espalier_ops::Work;
use espalier_plugins::{DeviceTensors, PluginMethod};
use espalier_sdk::{MethodInfo, Sparsity, abi::LoadedPruned};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::Instant,
};

/// The report of one linear layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The weight's name in the checkpoint.
    pub name: String,
    /// `[out_features, in_features]`
    pub shape: [usize; 2],
    /// The request.
    pub target: Sparsity,
    /// Zeros in the written weight.
    pub zeros: usize,
    /// Their share.
    pub sparsity: f64,
    /// The method's own measure of what pruning cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// The method's other numbers, such as the damping it used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, f64>,
    /// Remarks: the method's, and on features that no token ever used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Wall time of the method, in seconds.
    pub seconds: f64,
}

/// Which layer, and how much of it.
#[derive(Clone, Copy)]
pub(super) struct LayerPlace {
    pub(super) block: usize,
    pub(super) projection: Projection,
    pub(super) sparsity: Sparsity,
}

/// Prunes one layer and writes its weight to the output. Returns the weight as it was written, and its report.
pub(super) fn prune(
    model: &Llama,
    plan: &Plan,
    output: &mut CheckpointWriter,
    tensors: &Arc<DeviceTensors>,
    at: LayerPlace,
    linear: &Linear,
    measured: &BTreeMap<LayerInput, Measured>,
) -> Result<(Tensor, LayerReport)> {
    interrupt::check()?;
    let started = Instant::now();
    let device = &*model.device;
    let name = at.projection.weight(at.block);
    let _layer = profile::stage(|| name.clone());
    let (rows, cols) = (linear.weight.rows(), linear.weight.cols());
    let dtype = linear.weight.dtype();
    let on_device = |source| PruneError::Device { layer: name.clone(), source };
    let returned = |message| PruneError::Returned { layer: name.clone(), message };

    let mut weight = device.zeros(DType::F32, rows, cols).map_err(on_device)?;
    device.execute(Op::Convert { x: &linear.weight }, &mut weight).map_err(on_device)?;
    let measured = measured.get(&at.projection.input());
    let call =
        Call { method: plan.method, info: plan.info, name: &name, block: at.block, target: at.sparsity };
    let called = call.run(tensors, weight, measured);
    if called.is_err() {
        // What stops a method from outside comes back as its error.
        interrupt::check()?;
    }
    let (pruned, said) = called.map_err(|source| PruneError::Method { layer: name.clone(), source })?;
    if (pruned.rows(), pruned.cols(), pruned.dtype()) != (rows, cols, DType::F32) {
        return Err(returned(format!(
            "{} [{}, {}] where f32 [{rows}, {cols}] is expected",
            pruned.dtype(),
            pruned.rows(),
            pruned.cols()
        )));
    }

    // The next block sees what is written: the weight in the checkpoint's own type.
    let mut rounded = device.zeros(dtype, rows, cols).map_err(on_device)?;
    device.execute(Op::Convert { x: &pruned }, &mut rounded).map_err(on_device)?;
    drop(pruned);
    let mut bytes = device.read(&rounded).map_err(on_device)?;
    let zeros = weights::clean(dtype, &mut bytes, cols).map_err(returned)?;
    // A weight that cannot be read any more is found when the next block is loaded.
    let before = || model.checkpoint.tensor(&name).map_or(0, |dense| weights::zeros(&dense));
    let remark =
        weights::compare(at.sparsity, dtype, &bytes, (rows, cols), zeros, before).map_err(returned)?;
    output.write(&name, bytes)?;

    let mut notes: Vec<_> = said.notes.iter().map(|note| text::line(note)).collect();
    notes.extend(remark);
    if let Some(measured) = measured.filter(|measured| measured.zero_features > 0) {
        notes.push(format!("{} input features were 0 for every token", measured.zero_features));
    }
    let report = LayerReport {
        name,
        shape: [rows, cols],
        target: at.sparsity,
        zeros,
        sparsity: zeros as f64 / (rows * cols) as f64,
        error: said.error,
        numbers: said.numbers,
        notes,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok((rounded, report))
}

/// One call of a method.
pub(super) struct Call<'a> {
    pub(super) method: &'a PluginMethod,
    pub(super) info: &'a MethodInfo,
    pub(super) name: &'a str,
    pub(super) block: usize,
    pub(super) target: Sparsity,
}

impl Call<'_> {
    /// Lends the weight and its statistics to the method, and takes what it made.
    pub(super) fn run(
        &self,
        tensors: &Arc<DeviceTensors>,
        weight: Tensor,
        measured: Option<&Measured>,
    ) -> espalier_sdk::Result<(Tensor, LoadedPruned)> {
        let weight = tensors.lend(&Arc::new(RwLock::new(weight)));
        let tokens = measured.map_or(0, |measured| measured.tokens as u64);
        // Others may have asked for more.
        let statistics = measured
            .iter()
            .flat_map(|measured| &measured.statistics)
            .filter(|(kind, _)| self.info.statistics.contains(kind));
        let statistics: Vec<_> = statistics.map(|(kind, tensor)| (*kind, tensors.lend(tensor))).collect();
        let pruned = {
            let _method = profile::span(Kind::Method, Work::default(), || "method and border".to_owned());
            self.method.prune(
                self.name,
                self.block,
                weight,
                tokens,
                &statistics,
                self.target,
                tensors.clone(),
            )
        };
        let pruned = pruned.and_then(|pruned| Ok((tensors.take(pruned.weight.id)?, pruned)));
        // What the method forgot to free must not pile up over a model's layers.
        tensors.clear();
        pruned
    }
}
