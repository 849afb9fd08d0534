//! A linear layer, as a method sees it, with the statistics of its input.

use crate::{
    Axis, Binary, DType, Device, Error, Mask, Reduction, Result, Scores, Sparsity, Tensor, Unary,
    message::LayerData,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One linear layer, as a method sees it.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// # fn main() -> Result<()> {
/// let device = testing::device();
/// let weight = testing::random(&device, 8, 16, 0)?;
/// let inputs = testing::random(&device, 100, 16, 1)?;
/// let layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.5))?;
/// assert_eq!(layer.projection, "up_proj");
/// assert_eq!((layer.weight.rows(), layer.weight.cols()), (8, 16));
/// assert!(layer.mask.is_none(), "no stage before has pruned it");
/// # Ok(())
/// # }
/// ```
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
    /// How many weights of each row are to be pruned, if a stage before [has said so](crate::Model::set_row_counts): together as
    /// many as the target says. [`Layer::smallest_per_row`] heeds them.
    pub row_counts: Option<Vec<usize>>,
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
            row_counts: None,
            dense: weight.shared(),
            weight,
            mask: None,
            low_rank: None,
            statistics: Statistics::default(),
        }
    }

    /// The smallest scores of every row, as many as this layer's target or its row counts ask for.
    ///
    /// # Errors
    /// As [`Device::smallest_per_row`].
    pub fn smallest_per_row<'a>(&self, device: &Device, scores: impl Into<Scores<'a>>) -> Result<Mask> {
        match &self.row_counts {
            Some(counts) => device.select_counts(scores, counts),
            None => device.smallest_per_row(scores, self.target),
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
            row_counts: self.row_counts.clone(),
            weight: self.weight.handle(),
            dense: self.dense.handle(),
            mask: self.mask.as_ref().map(|mask| mask.words.handle()),
            low_rank: self.low_rank.as_ref().map(|(left, right)| (left.handle(), right.handle())),
            tokens: self.statistics.tokens,
            windows: self.statistics.windows.clone(),
            token_weights: self.statistics.token_weights.as_ref().map(Tensor::handle),
            statistics,
        }
    }

    /// A layer whose tensors the host lends.
    pub(crate) fn lent(data: LayerData, device: &Device) -> Result<Self> {
        let lend = |handle| device.known(handle, false);
        let mut statistics =
            Statistics { tokens: data.tokens, windows: data.windows, ..Statistics::default() };
        statistics.token_weights = data.token_weights.map(lend);
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
            row_counts: data.row_counts,
            weight,
            dense: lend(data.dense),
            mask,
            low_rank: data.low_rank.map(|(left, right)| (lend(left), lend(right))),
            statistics,
        })
    }
}

/// The statistics of a layer's input, over the tokens that count, that [`MethodInfo::statistics`](crate::MethodInfo::statistics) asked for.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// # fn main() -> Result<()> {
/// let device = testing::device();
/// let weight = testing::random(&device, 2, 2, 0)?;
/// let inputs = testing::tensor(&device, &[[3.0, 0.0], [4.0, 1.0]])?;
/// let layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.5))?;
/// assert_eq!(layer.statistics.tokens, 2);
/// assert_eq!(layer.statistics.column_norms()?.to_vec()?, [5.0, 1.0]);
/// assert_eq!(layer.statistics.gram()?.to_vec()?, [25.0, 4.0, 4.0, 1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Statistics {
    /// Tokens measured: those that count.
    pub tokens: u64,
    /// The tokens of each calibration window, in the order of the rows of [`Statistic::Inputs`].
    pub windows: Vec<usize>,
    /// How much each of these tokens counts, `[tokens, 1]`; nothing where all count 1. [`Statistic::Inputs`] has their inputs as
    /// they are, and every other statistic weighs them.
    pub token_weights: Option<Tensor>,
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

/// The statistics that the host gathers of the inputs of every linear layer before it is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Statistic {
    /// `‖x_j‖₂` of every input feature j, over all tokens that count: `[1, in_features]`. A token of weight w counts as w tokens
    /// would; so for every statistic.
    ColumnNorms,
    /// `XᵀX` over all of them: `[in_features, in_features]`, symmetric, both halves filled.
    Gram,
    /// The mean and the variance (divided by the weight of all tokens) of every input feature:
    /// `[2, in_features]`, means above variances.
    MeanVariance,
    /// Every counted token's input: `[tokens, in_features]`. As large as it sounds.
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
