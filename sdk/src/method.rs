//! Pruning methods.

use crate::options::option_builders;
use crate::{Allowed, Device, Error, OptionKind, OptionSpec, Options, Result, Sparsity, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A way of pruning one linear layer.
///
/// The host makes one instance for a run and calls [`prune`](PruningMethod::prune) once for every
/// layer, block by block in the order of the forward pass.
pub trait PruningMethod: Send + Sync + 'static {
    /// The method's name, what it does, its options, and the statistics it needs.
    fn info() -> MethodInfo
    where
        Self: Sized;

    /// An instance with these options, which the host has checked against [`MethodInfo::options`].
    ///
    /// # Errors
    /// A value the method cannot work with.
    fn new(options: &Options) -> Result<Self>
    where
        Self: Sized;

    /// When a layer's statistics are taken.
    fn order(&self) -> Order {
        Order::Block
    }

    /// The pruned weight of one layer.
    ///
    /// # Errors
    /// Whatever stops the run; the host adds the layer's name.
    fn prune(&self, layer: &Layer, target: Sparsity, device: &Device) -> Result<Pruned>;
}

/// When the statistics of a block's layers are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum Order {
    /// Once, with the whole block still dense.
    Block = 0,
    /// Before each group of layers that share an input (q, k, v → o → gate, up → down), through what is
    /// already pruned of the block.
    TrueSequential = 1,
}

/// The statistics that the host gathers of the inputs of every linear layer before it is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Statistic {
    /// `‖x_j‖₂` of every input feature j, over all tokens: `[1, in_features]`.
    ColumnNorms,
    /// `XᵀX` over all tokens: `[in_features, in_features]`, symmetric, both halves filled.
    Gram,
    /// The mean and the variance (divided by the number of tokens) of every input feature:
    /// `[2, in_features]`, means above variances.
    MeanVariance,
    /// Every token's input: `[tokens, in_features]`. As large as it sounds.
    Inputs,
}

impl Statistic {
    /// Every statistic, at the place of its number at the plugin border.
    const ALL: [Self; 4] = [Self::ColumnNorms, Self::Gram, Self::MeanVariance, Self::Inputs];

    pub(crate) fn code(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }
}

/// The description of a method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodInfo {
    /// Its name, as in `--method NAME`.
    pub name: String,
    /// A summary in one line.
    pub summary: String,
    /// The options it takes.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// The statistics it needs; nothing else is measured.
    #[serde(default)]
    pub statistics: Vec<Statistic>,
}

impl MethodInfo {
    /// A method without options that needs no statistics.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { name: name.into(), summary: summary.into(), options: Vec::new(), statistics: Vec::new() }
    }

    option_builders!();

    /// Asks for a statistic of every layer's input.
    #[must_use]
    pub fn needs(mut self, statistic: Statistic) -> Self {
        self.statistics.push(statistic);
        self
    }
}

/// One linear layer, as a method sees it.
#[derive(Debug)]
pub struct Layer {
    /// The weight's name in the checkpoint, such as `model.layers.3.mlp.up_proj.weight`.
    pub name: String,
    /// The block it belongs to, from 0.
    pub block: usize,
    /// `[out_features, in_features]`, f32.
    pub weight: Tensor,
    /// The statistics of its input.
    pub statistics: Statistics,
}

/// The statistics of a layer's input that [`MethodInfo::statistics`] asked for.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Tokens measured.
    pub tokens: u64,
    column_norms: Option<Tensor>,
    gram: Option<Tensor>,
    mean_variance: Option<Tensor>,
    inputs: Option<Tensor>,
}

impl Statistics {
    pub(crate) fn slot(&mut self, kind: Statistic) -> &mut Option<Tensor> {
        match kind {
            Statistic::ColumnNorms => &mut self.column_norms,
            Statistic::Gram => &mut self.gram,
            Statistic::MeanVariance => &mut self.mean_variance,
            Statistic::Inputs => &mut self.inputs,
        }
    }

    /// See [`Statistic::ColumnNorms`].
    ///
    /// # Errors
    /// The method did not ask for it; so for every statistic.
    pub fn column_norms(&self) -> Result<&Tensor> {
        asked(&self.column_norms, Statistic::ColumnNorms)
    }

    /// See [`Statistic::Gram`].
    ///
    /// # Errors
    /// The method did not ask for it.
    pub fn gram(&self) -> Result<&Tensor> {
        asked(&self.gram, Statistic::Gram)
    }

    /// See [`Statistic::MeanVariance`].
    ///
    /// # Errors
    /// The method did not ask for it.
    pub fn mean_variance(&self) -> Result<&Tensor> {
        asked(&self.mean_variance, Statistic::MeanVariance)
    }

    /// See [`Statistic::Inputs`].
    ///
    /// # Errors
    /// The method did not ask for it.
    pub fn inputs(&self) -> Result<&Tensor> {
        asked(&self.inputs, Statistic::Inputs)
    }
}

fn asked(slot: &Option<Tensor>, kind: Statistic) -> Result<&Tensor> {
    let unasked = || Error::invalid(format!("the method uses {kind:?} without asking for it in its info"));
    slot.as_ref().ok_or_else(unasked)
}

/// A pruned layer.
#[derive(Debug)]
pub struct Pruned {
    /// The new weight, of the old one's shape, f32. Pruned entries are 0.
    pub weight: Tensor,
    /// The method's own measure of what pruning cost this layer, if it has one.
    pub error: Option<f64>,
    /// Other numbers for the manifest, by name, such as the damping that was used.
    pub numbers: BTreeMap<String, f64>,
    /// Remarks for the run's log and manifest, such as a damping that had to be raised.
    pub notes: Vec<String>,
}

impl From<Tensor> for Pruned {
    fn from(weight: Tensor) -> Self {
        Self { weight, error: None, numbers: BTreeMap::new(), notes: Vec::new() }
    }
}
