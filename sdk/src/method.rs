//! Pruning methods.

use crate::{Device, Error, OptionKind, OptionSpec, Options, Result, Sparsity, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

    /// The pruned weight of one layer.
    ///
    /// # Errors
    /// Whatever stops the run; the host adds the layer's name.
    fn prune(&self, layer: &Layer, target: Sparsity, device: &Device) -> Result<Pruned>;
}

/// What the host measures of the inputs of every linear layer before it is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Statistic {
    /// `‖x_j‖₂` of every input feature j, over all tokens.
    ColumnNorms,
}

impl Statistic {
    /// Every statistic, at the place of its number at the plugin border.
    const ALL: [Self; 1] = [Self::ColumnNorms];

    pub(crate) fn code(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }
}

/// What a method says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodInfo {
    /// Its name, as in `--method NAME`.
    pub name: String,
    /// What it does, in a line.
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

    /// Adds an option.
    #[must_use]
    pub fn option(
        mut self,
        name: impl Into<String>,
        kind: OptionKind,
        default: impl Into<Value>,
        summary: impl Into<String>,
    ) -> Self {
        self.options.push(OptionSpec {
            name: name.into(),
            kind,
            default: default.into(),
            summary: summary.into(),
        });
        self
    }

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
    /// What was measured of its input.
    pub statistics: Statistics,
}

/// What was measured of a layer's input: as much as [`MethodInfo::statistics`] asked for.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Tokens measured.
    pub tokens: u64,
    column_norms: Option<Tensor>,
}

impl Statistics {
    pub(crate) fn slot(&mut self, kind: Statistic) -> &mut Option<Tensor> {
        match kind {
            Statistic::ColumnNorms => &mut self.column_norms,
        }
    }

    /// `‖x_j‖₂` of every input feature, `[1, in_features]`, f32.
    ///
    /// # Errors
    /// The method did not ask for [`Statistic::ColumnNorms`].
    pub fn column_norms(&self) -> Result<&Tensor> {
        self.column_norms
            .as_ref()
            .ok_or_else(|| Error::invalid("the method uses column norms without asking for them in its info"))
    }
}

/// What a method made of a layer.
#[derive(Debug)]
pub struct Pruned {
    /// The new weight, of the old one's shape, f32. Pruned entries are 0.
    pub weight: Tensor,
    /// The method's own measure of what pruning cost this layer, if it has one.
    pub error: Option<f64>,
    /// Remarks for the run's log and manifest, such as a raised damping.
    pub notes: Vec<String>,
}

impl From<Tensor> for Pruned {
    fn from(weight: Tensor) -> Self {
        Self { weight, error: None, notes: Vec::new() }
    }
}
