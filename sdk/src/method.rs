//! Pruning methods.

use crate::options::option_builders;
use crate::{
    Allowed, Axis, Binary, Block, Code, DType, Device, Error, Mask, Model, OptionKind, OptionSpec, Options,
    Reduction, Result, Run, Sparsity, Tensor, Unary,
    message::{LayerData, PrunedData, TensorHandle},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A stage of a run: `--method owl,wanda,dsnot` is three, and each finds what the one before left.
///
/// A method works on a layer, a block or the model, as [`MethodInfo::scope`] says, and implements the function of that
/// scope. The host makes one instance for a run and walks through the model.
pub trait Method: Send + Sync + 'static {
    /// The method's name, what it does, its scope, its options, and the statistics it needs.
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

    /// Prunes one linear layer; called for every layer, block by block in the order of the forward pass.
    ///
    /// # Errors
    /// Whatever stops the run; the host adds the layer's name. So for every scope.
    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let _ = (layer, run);
        Err(lacking(Scope::Layer))
    }

    /// Works on one block. By default, each of its layers is pruned for itself.
    ///
    /// # Errors
    /// As [`Method::layer`].
    fn block(&self, block: &mut Block, run: &Run) -> Result<()> {
        for projection in block.layers().to_vec() {
            let pruned = self.layer(&block.layer(&projection)?, run)?;
            block.set(&projection, pruned)?;
        }
        Ok(())
    }

    /// Decides for the whole model, before the stages that follow prune it.
    ///
    /// # Errors
    /// As [`Method::layer`].
    fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
        let _ = (model, run);
        Err(lacking(Scope::Model))
    }
}

fn lacking(scope: Scope) -> Error {
    Error::new(
        Code::Unsupported,
        format!("the method declares {scope:?} as its scope, but does not implement it"),
    )
}

/// The part of the model that a method sees at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// One linear layer: [`Method::layer`].
    #[default]
    Layer,
    /// One block: [`Method::block`].
    Block,
    /// The model: [`Method::model`].
    Model,
}

/// When the statistics of a block's layers are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Once, with the whole block still dense.
    Block,
    /// Before each group of layers that share an input (q, k, v → o → gate, up → down), through what is
    /// already pruned of the block.
    TrueSequential,
}

/// The statistics that the host gathers of the inputs of every linear layer before it is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// `Σ g²` of every weight over the calibration windows, `[out_features, in_features]`, where g is the gradient of a window's
    /// mean cross-entropy per token in the dense model. Takes a forward and a backward pass through the whole model.
    GradientSquares,
}

impl Statistic {
    /// Every statistic.
    pub(crate) const ALL: [Self; 5] =
        [Self::ColumnNorms, Self::Gram, Self::MeanVariance, Self::Inputs, Self::GradientSquares];
}

/// The description of a method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodInfo {
    /// Its name, as in `--method NAME`.
    pub name: String,
    /// A summary in one line.
    pub summary: String,
    /// The part of the model that it sees at once.
    #[serde(default)]
    pub scope: Scope,
    /// Where it was published, such as an arXiv number.
    #[serde(default)]
    pub paper: String,
    /// Whether it can prune to patterns such as 2:4.
    #[serde(default = "yes")]
    pub patterns: bool,
    /// The options it takes.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
    /// The statistics it needs; nothing else is measured.
    #[serde(default)]
    pub statistics: Vec<Statistic>,
    /// Functions of the host and operations of the device without which it cannot work.
    #[serde(default)]
    pub requires: Vec<String>,
}

fn yes() -> bool {
    true
}

impl MethodInfo {
    /// A method that works on layers, without options, that needs no statistics.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            summary: summary.into(),
            scope: Scope::Layer,
            paper: String::new(),
            patterns: true,
            options: Vec::new(),
            statistics: Vec::new(),
            requires: Vec::new(),
        }
    }

    option_builders!();

    /// Sets the part of the model that it sees at once.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Says where the method was published, such as an arXiv number.
    #[must_use]
    pub fn paper(mut self, paper: impl Into<String>) -> Self {
        self.paper = paper.into();
        self
    }

    /// Says that the method cannot prune to patterns such as 2:4: the host refuses them before anything runs.
    #[must_use]
    pub fn without_patterns(mut self) -> Self {
        self.patterns = false;
        self
    }

    /// Asks for a statistic of every layer's input.
    #[must_use]
    pub fn needs(mut self, statistic: Statistic) -> Self {
        self.statistics.push(statistic);
        self
    }

    /// Names a function of the host ([`HostCall::NAMES`](crate::message::HostCall::NAMES)) or an operation of the device
    /// ([`Op::NAMES`](crate::service::Op)) without which the method cannot work: a host that does not have it refuses the
    /// method before anything runs. What is not named may be tried, and fails with
    /// [`Code::Unsupported`] where it is missing.
    #[must_use]
    pub fn requires(mut self, function: impl Into<String>) -> Self {
        self.requires.push(function.into());
        self
    }
}

/// One linear layer, as a method sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Layer {
    /// The weight's name in the checkpoint, such as `model.layers.3.mlp.up_proj.weight`.
    pub name: String,
    /// The block it belongs to, from 0.
    pub block: usize,
    /// Its name within the block, such as `up_proj`.
    pub projection: String,
    /// How much of it is to be pruned.
    pub target: Sparsity,
    /// `[out_features, in_features]`, f32, as the stage before left it.
    pub weight: Tensor,
    /// `[out_features, in_features]`, f32, as in the checkpoint.
    pub dense: Tensor,
    /// What the stages before have pruned, if there are any.
    pub mask: Option<Mask>,
    /// The low-rank part that a stage before has added, `[out_features, rank]` and `[rank, in_features]`, if one has.
    pub low_rank: Option<(Tensor, Tensor)>,
    /// The statistics of its input.
    pub statistics: Statistics,
}

impl Layer {
    /// A layer with this dense weight and target that nothing was measured of.
    pub fn new(weight: Tensor, target: Sparsity) -> Self {
        Self {
            name: "model.layers.0.mlp.up_proj.weight".to_owned(),
            block: 0,
            projection: "up_proj".to_owned(),
            target,
            dense: weight.shared(),
            weight,
            mask: None,
            low_rank: None,
            statistics: Statistics::default(),
        }
    }

    /// The norm of every output feature of the current weight over all tokens, `[out_features, 1]`: the roots of the diagonal
    /// of `W XᵀX Wᵀ`.
    ///
    /// ```
    /// # use espalier_sdk::*;
    /// # fn main() -> Result<()> {
    /// let device = testing::device();
    /// let weight = testing::tensor(&device, &[[1.0, 0.0], [3.0, 4.0]])?;
    /// let inputs = testing::tensor(&device, &[[1.0, 1.0], [1.0, -1.0]])?;
    /// let layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.5))?;
    /// let norms = layer.output_norms(&device)?.to_vec()?;
    /// assert_eq!(norms, [2f32.sqrt(), 50f32.sqrt()]);
    /// assert_eq!(layer.statistics.windows, [2]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The method did not ask for [`Statistic::Gram`], or the device failed.
    pub fn output_norms(&self, device: &Device) -> Result<Tensor> {
        let (rows, cols) = (self.weight.rows(), self.weight.cols());
        let mut products = device.zeros(DType::F32, rows, cols)?;
        let gram = self.statistics.gram()?;
        device.matmul(1.0, self.weight.view(), gram.view(), 0.0, products.view_mut())?;
        let products = device.zip(Unary::Identity, &products, Binary::Multiply, &self.weight)?;
        let squares = device.reduce(Reduction::Sum, Axis::EachRow, &products)?;
        // Rounding may leave a little below 0.
        let zero = device.zeros(DType::F32, 1, 1)?;
        device.map(Unary::Sqrt, &device.zip(Unary::Identity, &squares, Binary::Maximum, &zero)?)
    }

    /// The layer as it crosses the border.
    pub(crate) fn data(&self) -> LayerData {
        let mut statistics = BTreeMap::new();
        for statistic in Statistic::ALL {
            if let Some(tensor) = self.statistics.get(statistic) {
                statistics.insert(LayerData::key(statistic), tensor.handle());
            }
        }
        LayerData {
            name: self.name.clone(),
            block: self.block,
            projection: self.projection.clone(),
            target: self.target,
            weight: self.weight.handle(),
            dense: self.dense.handle(),
            mask: self.mask.as_ref().map(|mask| mask.words.handle()),
            low_rank: self.low_rank.as_ref().map(|(left, right)| (left.handle(), right.handle())),
            tokens: self.statistics.tokens,
            windows: self.statistics.windows.clone(),
            statistics,
        }
    }

    /// A layer whose tensors the host lends.
    pub(crate) fn lent(data: LayerData, device: &Device) -> Result<Self> {
        let lend = |handle| device.known(handle, false);
        let mut statistics =
            Statistics { tokens: data.tokens, windows: data.windows, ..Statistics::default() };
        for statistic in Statistic::ALL {
            *statistics.slot(statistic) = data.statistics.get(&LayerData::key(statistic)).copied().map(lend);
        }
        let weight = lend(data.weight);
        let mask = data.mask.map(|words| Mask::of(lend(words), weight.cols())).transpose()?;
        Ok(Self {
            name: data.name,
            block: data.block,
            projection: data.projection,
            target: data.target,
            weight,
            dense: lend(data.dense),
            mask,
            low_rank: data.low_rank.map(|(left, right)| (lend(left), lend(right))),
            statistics,
        })
    }
}

/// The statistics of a layer's input that [`MethodInfo::statistics`] asked for.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Tokens measured.
    pub tokens: u64,
    /// The tokens of each calibration window, in the order of the rows of [`Statistic::Inputs`].
    pub windows: Vec<usize>,
    column_norms: Option<Tensor>,
    gram: Option<Tensor>,
    mean_variance: Option<Tensor>,
    inputs: Option<Tensor>,
    gradient_squares: Option<Tensor>,
}

impl Statistics {
    pub(crate) fn slot(&mut self, kind: Statistic) -> &mut Option<Tensor> {
        match kind {
            Statistic::ColumnNorms => &mut self.column_norms,
            Statistic::Gram => &mut self.gram,
            Statistic::MeanVariance => &mut self.mean_variance,
            Statistic::Inputs => &mut self.inputs,
            Statistic::GradientSquares => &mut self.gradient_squares,
        }
    }

    fn get(&self, kind: Statistic) -> Option<&Tensor> {
        match kind {
            Statistic::ColumnNorms => self.column_norms.as_ref(),
            Statistic::Gram => self.gram.as_ref(),
            Statistic::MeanVariance => self.mean_variance.as_ref(),
            Statistic::Inputs => self.inputs.as_ref(),
            Statistic::GradientSquares => self.gradient_squares.as_ref(),
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

    /// See [`Statistic::GradientSquares`].
    ///
    /// # Errors
    /// The method did not ask for it.
    pub fn gradient_squares(&self) -> Result<&Tensor> {
        asked(&self.gradient_squares, Statistic::GradientSquares)
    }
}

fn asked(slot: &Option<Tensor>, kind: Statistic) -> Result<&Tensor> {
    let unasked = || Error::invalid(format!("the method uses {kind:?} without asking for it in its info"));
    slot.as_ref().ok_or_else(unasked)
}

/// A pruned layer: a mask, a weight, or both, and perhaps a low-rank part.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Pruned {
    /// The new weight, of the old one's shape, f32; without one, the old weight stays where the mask is not set.
    pub weight: Option<Tensor>,
    /// What is pruned; without one, what is 0 in the weight.
    pub mask: Option<Mask>,
    /// A low-rank part that is added to the weight: `[out_features, rank]` times `[rank, in_features]`.
    pub low_rank: Option<(Tensor, Tensor)>,
    /// The method's own measure of what pruning cost this layer, if it has one.
    pub error: Option<f64>,
    /// Other numbers for the manifest, by name, such as the damping that was used.
    pub numbers: BTreeMap<String, f64>,
    /// Remarks for the run's log and manifest, such as a damping that had to be raised.
    pub notes: Vec<String>,
}

impl From<Tensor> for Pruned {
    fn from(weight: Tensor) -> Self {
        Self { weight: Some(weight), ..Self::default() }
    }
}

impl From<Mask> for Pruned {
    fn from(mask: Mask) -> Self {
        Self { mask: Some(mask), ..Self::default() }
    }
}

impl From<(Tensor, Mask)> for Pruned {
    fn from((weight, mask): (Tensor, Mask)) -> Self {
        Self { weight: Some(weight), mask: Some(mask), ..Self::default() }
    }
}

impl Pruned {
    /// Adds a low-rank part `left · right`, `[out_features, rank]` times `[rank, in_features]`.
    #[must_use]
    pub fn low_rank(mut self, left: Tensor, right: Tensor) -> Self {
        self.low_rank = Some((left, right));
        self
    }

    /// Says what pruning cost this layer by the method's own measure.
    #[must_use]
    pub fn error(mut self, error: f64) -> Self {
        self.error = Some(error);
        self
    }

    /// Adds a number for the manifest.
    #[must_use]
    pub fn number(mut self, name: impl Into<String>, value: f64) -> Self {
        self.numbers.insert(name.into(), value);
        self
    }

    /// What came over the border, of a layer of so many columns. What was lent of these layers is copied.
    pub(crate) fn from_data(
        data: PrunedData,
        device: &Device,
        cols: usize,
        lent: &[LayerData],
    ) -> Result<Self> {
        let own = |handle: TensorHandle| {
            let is_lent = |layer: &LayerData| layer.tensors().any(|tensor| tensor.id == handle.id);
            let tensor = device.known(handle, !lent.iter().any(is_lent));
            if lent.iter().any(is_lent) { tensor.copy() } else { Ok(tensor) }
        };
        let pair = |(left, right)| Ok::<_, Error>((own(left)?, own(right)?));
        Ok(Self {
            weight: data.weight.map(own).transpose()?,
            mask: data.mask.map(|words| Mask::of(own(words)?, cols)).transpose()?,
            low_rank: data.low_rank.map(pair).transpose()?,
            error: data.error,
            numbers: data.numbers,
            notes: data.notes,
        })
    }

    /// Hands everything over the border.
    pub(crate) fn into_data(self) -> Result<PrunedData> {
        let Self { weight, mask, low_rank, error, numbers, notes } = self;
        let named = numbers.iter().map(|(name, &value)| (name.as_str(), value));
        let numbers_given = named.chain(error.map(|error| ("error", error)));
        for (name, value) in numbers_given {
            if !value.is_finite() {
                return Err(Error::new(
                    Code::Numeric,
                    format!("the number `{name}` of the result is {value}"),
                ));
            }
        }
        for tensor in weight.iter().chain(low_rank.iter().flat_map(|(left, right)| [left, right])) {
            if tensor.dtype() != DType::F32 {
                return Err(Error::invalid(format!("{tensor:?} is returned where f32 is expected")));
            }
        }
        Ok(PrunedData {
            weight: weight.map(Tensor::give),
            mask: mask.map(|mask| mask.words.give()),
            low_rank: low_rank.map(|(left, right)| (left.give(), right.give())),
            error,
            numbers,
            notes,
        })
    }
}
