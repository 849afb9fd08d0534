//! Statistics of the inputs of a block's linear layers.

use super::{PruneError, Result, counted::Counted};
use espalier_device::{Axis, Binary, DType, Device, DeviceError, Op, Reduction, Tensor, Unary};
use espalier_model::{
    Batch, Block, HiddenStates, Llama, Observer,
    layout::{LayerInput, Projection},
};
use espalier_plugins::Shared;
use espalier_sdk::{Sparsity, Statistic};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, RwLock},
};

/// The statistics of one input, shared by the layers that read it, over the tokens that count.
pub(super) struct Measured {
    /// The tokens of each window that count, in the order in which they were measured.
    pub windows: Vec<usize>,
    /// Features that were 0 for every token.
    pub zero_features: usize,
    /// How much each of those tokens counts, `[tokens, 1]`; nothing where all count 1.
    pub token_weights: Option<Shared>,
    /// Each statistic the method asked for.
    pub statistics: Vec<(Statistic, Shared)>,
}

/// Gathers `needed` of the inputs that are in `inputs`, one batch after the other. Layers that share an
/// input share its statistics.
pub(super) struct Gatherer<'a> {
    device: &'a dyn Device,
    needed: &'a [Statistic],
    inputs: &'a [LayerInput],
    total_tokens: usize,
    sums: BTreeMap<LayerInput, Sums>,
}

/// The sums over one input so far, over the tokens that count.
struct Sums {
    tokens: usize,
    windows: Vec<usize>,
    /// How much each token counts, if not all count 1.
    weights: Vec<f32>,
    total_weight: f64,
    /// `Σ w x²` of every feature: the norms, and a watch on what is not finite or always 0.
    squares: Tensor,
    others: Vec<(Statistic, Tensor)>,
}

/// Runs every batch through a block, dense, and gathers. The hidden states are left as they are.
pub(super) fn measure(
    model: &Llama,
    block: (usize, &Block),
    hidden: &HiddenStates,
    mut gatherer: Gatherer,
    progress: &mut dyn FnMut(usize),
) -> Result<BTreeMap<LayerInput, Measured>> {
    hidden.visit_copies(model, |batch, states| {
        gatherer.forward(model, block.1, batch, states, true)?;
        progress(batch.tokens.len());
        Ok::<_, PruneError>(())
    })?;
    gatherer.finish(block.0)
}

/// Runs every batch through a block, dense, and gathers; the hidden states advance.
pub(super) fn measure_and_advance(
    model: &Llama,
    block: (usize, &Block),
    hidden: &mut HiddenStates,
    mut gatherer: Gatherer,
    progress: &mut dyn FnMut(usize),
) -> Result<BTreeMap<LayerInput, Measured>> {
    hidden.update(model, |batch, states| {
        gatherer.forward(model, block.1, batch, states, false)?;
        progress(batch.tokens.len());
        Ok::<_, PruneError>(())
    })?;
    gatherer.finish(block.0)
}

/// Frees what none of these layers reads, so that the last and largest Gram matrix is factored with room to do it.
pub(super) fn keep_for(measured: &mut BTreeMap<LayerInput, Measured>, layers: &[(Projection, Sparsity)]) {
    measured.retain(|input, _| layers.iter().any(|(projection, _)| projection.input() == *input));
}

impl<'a> Gatherer<'a> {
    /// An empty one, for `total_tokens` tokens to come that count.
    pub(super) fn new(
        device: &'a dyn Device,
        needed: &'a [Statistic],
        inputs: &'a [LayerInput],
        total_tokens: usize,
    ) -> Self {
        Self { device, needed, inputs, total_tokens, sums: BTreeMap::new() }
    }

    fn forward(
        &mut self,
        model: &Llama,
        block: &Block,
        batch: &Batch,
        hidden: &mut Tensor,
        stop_when_complete: bool,
    ) -> Result<()> {
        let last = self.inputs.iter().max().copied();
        let windows: Vec<usize> = batch.spans.iter().map(|span| span.queries).collect();
        let observe: &mut Observer = &mut |input, x| {
            if self.inputs.contains(&input) {
                self.add(input, x, &windows, &batch.loss_mask)?;
            }
            let complete = stop_when_complete && Some(input) >= last;
            Ok(if complete { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        Ok(model.forward_block(block, batch, hidden, Some(observe))?)
    }

    /// Adds a batch of an input `[tokens, features]`, with the tokens of each of its windows, and how much each token counts.
    pub(super) fn add(
        &mut self,
        input: LayerInput,
        x: &Tensor,
        windows: &[usize],
        loss_mask: &[f32],
    ) -> Result<(), DeviceError> {
        let device = self.device;
        let counted = Counted::of(device, x, windows, loss_mask)?;
        if !self.sums.contains_key(&input) {
            // Norms come of the squares, and gradients not of inputs.
            let apart = [Statistic::ColumnNorms, Statistic::GradientSquares];
            let others = self.needed.iter().filter(|kind| !apart.contains(kind));
            let others = others.map(|&kind| Ok((kind, self.empty(kind, x.cols())?)));
            let others = others.collect::<Result<_, DeviceError>>()?;
            let squares = device.zeros(DType::F32, 1, x.cols())?;
            self.sums.insert(input, Sums::new(squares, others));
        }
        let Some(sums) = self.sums.get_mut(&input) else { return Ok(()) };
        sums.windows.extend(&counted.windows);
        if counted.is_nothing() {
            return Ok(());
        }
        let x = counted.tokens.as_ref().unwrap_or(x);
        // `w x xᵀ` is the product of `√w x` with itself.
        let scaled = counted.scaled(device, x)?;
        let scaled = scaled.as_ref().unwrap_or(x);
        let weight = counted.total(x.rows());
        device.execute(
            Op::Reduce { x: scaled, f: Reduction::SumSquares, axis: Axis::EachColumn, accumulate: true },
            &mut sums.squares,
        )?;
        for (kind, sum) in &mut sums.others {
            match kind {
                Statistic::ColumnNorms => {}
                Statistic::Gram => device.execute(Op::Gram { x: scaled }, sum)?,
                Statistic::MeanVariance => add_moments(device, x, &counted, sums.total_weight, sum)?,
                Statistic::Inputs => device.execute(Op::Copy { from: x.all(), to: (sums.tokens, 0) }, sum)?,
                kind => {
                    let message = format!("this host cannot measure {kind:?}");
                    return Err(DeviceError::Invalid { operation: "statistics", message });
                }
            }
        }
        sums.count(x.rows(), weight, &counted.weights);
        Ok(())
    }

    fn empty(&self, kind: Statistic, cols: usize) -> Result<Tensor, DeviceError> {
        let rows = match kind {
            Statistic::Gram => cols,
            Statistic::MeanVariance => 2,
            Statistic::Inputs => self.total_tokens,
            _ => 1,
        };
        self.device.zeros(DType::F32, rows, cols)
    }

    /// From what was summed to what a method sees. What is not finite is named by the first layer that reads it.
    pub(super) fn finish(self, block: usize) -> Result<BTreeMap<LayerInput, Measured>> {
        let device = self.device;
        let mut measured = BTreeMap::new();
        for (input, sums) in self.sums {
            let squares = device.to_f32(&sums.squares)?;
            if let Some(feature) = squares.iter().position(|square| !square.is_finite()) {
                let readers = Projection::ALL.into_iter().filter(|projection| projection.input() == input);
                let layers: Vec<_> = readers.map(|projection| projection.weight(block)).collect();
                let layers = layers.join(", ");
                return Err(PruneError::Inputs { layers, feature, value: squares[feature].sqrt() });
            }
            let mut statistics = sums.others;
            for (kind, sum) in &mut statistics {
                if *kind == Statistic::MeanVariance {
                    *sum = finish_moments(device, sums.total_weight, sum)?;
                }
            }
            if self.needed.contains(&Statistic::ColumnNorms) {
                let mut norms = device.zeros(DType::F32, 1, squares.len())?;
                device.execute(
                    Op::Map { x: &sums.squares, f: Unary::Sqrt, scale: 1.0, shift: 0.0 },
                    &mut norms,
                )?;
                statistics.push((Statistic::ColumnNorms, norms));
            }
            let zero_features = squares.iter().filter(|&&square| square == 0.0).count();
            let statistics =
                statistics.into_iter().map(|(kind, x)| (kind, Arc::new(RwLock::new(x)))).collect();
            let token_weights = match sums.weights.len() {
                0 => None,
                rows => Some(Arc::new(RwLock::new(device.from_f32(rows, 1, sums.weights)?))),
            };
            let windows = sums.windows;
            measured.insert(input, Measured { windows, zero_features, token_weights, statistics });
        }
        Ok(measured)
    }
}

impl Sums {
    fn new(squares: Tensor, others: Vec<(Statistic, Tensor)>) -> Self {
        Self { tokens: 0, windows: Vec::new(), weights: Vec::new(), total_weight: 0.0, squares, others }
    }

    /// Counts tokens; no weights are 1 each.
    fn count(&mut self, tokens: usize, weight: f64, weights: &[f32]) {
        if !(weights.is_empty() && self.weights.is_empty()) {
            self.weights.resize(self.tokens, 1.0);
            self.weights.extend(weights);
            self.weights.resize(self.tokens + tokens, 1.0);
        }
        self.tokens += tokens;
        self.total_weight += weight;
    }
}

/// Adds a batch to running means and sums of squared deviations, `[2, cols]` (Chan, Golub & LeVeque, 1979):
/// deviations are taken from the batch's own mean, so that a large mean does not swallow the variance.
fn add_moments(
    device: &dyn Device,
    x: &Tensor,
    counted: &Counted,
    before: f64,
    moments: &mut Tensor,
) -> Result<(), DeviceError> {
    let (cols, count) = (x.cols(), counted.total(x.rows()));
    let mut mean = device.zeros(DType::F32, 1, cols)?;
    let weighted = counted.times(device, x, |weight| weight)?;
    device.execute(
        Op::Reduce {
            x: weighted.as_ref().unwrap_or(x),
            f: Reduction::Sum,
            axis: Axis::EachColumn,
            accumulate: false,
        },
        &mut mean,
    )?;
    drop(weighted);
    let means: Vec<f32> =
        device.to_f32(&mean)?.into_iter().map(|sum| (f64::from(sum) / count) as f32).collect();
    let mean = device.from_f32(1, cols, means.clone())?;
    let mut centred = device.zeros(DType::F32, x.rows(), cols)?;
    device.execute(
        Op::Zip { a: x, b: &mean, f: Unary::Identity, op: Binary::Subtract, alpha: 1.0 },
        &mut centred,
    )?;
    let centred = counted.scaled(device, &centred)?.unwrap_or(centred);
    let mut squares = device.zeros(DType::F32, 1, cols)?;
    device.execute(
        Op::Reduce { x: &centred, f: Reduction::SumSquares, axis: Axis::EachColumn, accumulate: false },
        &mut squares,
    )?;
    let squares = device.to_f32(&squares)?;
    let mut total = device.to_f32(moments)?;
    for col in 0..cols {
        let (old_mean, old_squares) = (f64::from(total[col]), f64::from(total[cols + col]));
        let step = f64::from(means[col]) - old_mean;
        total[col] = (old_mean + step * count / (before + count)) as f32;
        let between = step * step * before * count / (before + count);
        total[cols + col] = (old_squares + f64::from(squares[col]) + between) as f32;
    }
    *moments = device.from_f32(2, cols, total)?;
    Ok(())
}

/// Means and variances from means and sums of squared deviations.
fn finish_moments(device: &dyn Device, weight: f64, moments: &Tensor) -> Result<Tensor, DeviceError> {
    let cols = moments.cols();
    let mut values = device.to_f32(moments)?;
    values[cols..].iter_mut().for_each(|squares| *squares /= weight as f32);
    device.from_f32(2, cols, values)
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
