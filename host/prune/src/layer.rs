//! Pruning one linear layer: through every stage, over the plugin border and back, checked, rounded and written.

use super::{
    PruneError, Result, Targets,
    answer::{Fault, Taken},
    method::Stage,
    services::{Services, seed},
    statistics::Measured,
    weights,
};
use espalier_base::{
    interrupt,
    profile::{self, Kind},
    text,
};
use espalier_device::{DType, Device, DeviceError, Op, Scores, Tensor, Unary};
use espalier_model::{CheckpointWriter, Linear, Llama, layout::Projection, merged, narrow::Group};
use espalier_ops::Work;
use espalier_plugins::{DeviceTensors, Shared};
use espalier_sdk::{
    Sparsity, Statistic,
    message::{LayerData, MethodCall},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
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
    /// The rank of the low-rank part that is added to the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
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
#[derive(Debug, Clone)]
pub(super) struct LayerPlace {
    pub(super) block: usize,
    pub(super) projection: Projection,
    pub(super) sparsity: Sparsity,
    /// How many weights of each row, if that was said.
    pub(super) row_counts: Option<Vec<usize>>,
}

impl LayerPlace {
    /// A layer that these targets prune so much of.
    pub(super) fn new(targets: &Targets, block: usize, projection: Projection, sparsity: Sparsity) -> Self {
        let row_counts = targets.rows_of(block, projection).map(<[usize]>::to_vec);
        Self { block, projection, sparsity, row_counts }
    }

    pub(super) fn name(&self) -> String {
        self.projection.weight(self.block)
    }
}

/// A layer between the first stage and the last.
pub(super) struct LayerState {
    pub(super) at: LayerPlace,
    /// As the last stage left it, f32.
    weight: Shared,
    /// As in the checkpoint, f32, where more than one stage looks at it.
    dense: Option<Shared>,
    /// What is pruned.
    mask: Option<Shared>,
    /// What is added to the weight: `[out_features, rank]` times `[rank, in_features]`.
    low_rank: Option<(Shared, Shared)>,
    /// See [`Statistic::GradientSquares`].
    gradient_squares: Option<Shared>,
    error: Option<f64>,
    pub(super) numbers: BTreeMap<String, f64>,
    notes: Vec<String>,
    pub(super) time: Duration,
}

fn shared(tensor: Tensor) -> Shared {
    Arc::new(RwLock::new(tensor))
}

impl LayerState {
    /// A layer as in the checkpoint, for one stage, or for more.
    pub(super) fn open(device: &dyn Device, linear: &Linear, at: LayerPlace, more: bool) -> Result<Self> {
        let (rows, cols) = (linear.weight.rows(), linear.weight.cols());
        let on_device = |source| PruneError::Device { layer: at.name(), source };
        let mut weight = device.zeros(DType::F32, rows, cols).map_err(on_device)?;
        device.execute(Op::Convert { x: &linear.weight }, &mut weight).map_err(on_device)?;
        Ok(Self::of(weight, at, more))
    }

    /// A layer of this dense weight, f32.
    pub(super) fn of(weight: Tensor, at: LayerPlace, more: bool) -> Self {
        let weight = shared(weight);
        Self {
            at,
            dense: more.then(|| Arc::clone(&weight)),
            weight,
            mask: None,
            low_rank: None,
            gradient_squares: None,
            error: None,
            numbers: BTreeMap::new(),
            notes: Vec::new(),
            time: Duration::ZERO,
        }
    }

    /// With what the model's gradients were.
    pub(super) fn with_gradients(self, gradient_squares: Option<Shared>) -> Self {
        Self { gradient_squares, ..self }
    }

    /// Whether no stage has changed it.
    pub(super) fn is_dense(&self) -> bool {
        let same = self.dense.as_ref().is_none_or(|dense| Arc::ptr_eq(dense, &self.weight));
        same && self.mask.is_none() && self.low_rank.is_none()
    }

    /// Puts groups of rows or columns of a dense layer into another order.
    pub(super) fn permute(&mut self, device: &dyn Device, group: Group, order: &[usize]) -> Result<()> {
        let on_device = |source| PruneError::Device { layer: self.at.name(), source };
        let permuted = |tensor: &Shared| {
            let tensor = tensor.read().unwrap_or_else(PoisonError::into_inner);
            let (rows, cols) = (tensor.rows(), tensor.cols());
            let elements = permuted(&device.to_f32(&tensor)?, cols, group, order);
            Ok::<_, DeviceError>(shared(device.from_f32(rows, cols, elements)?))
        };
        let weight = permuted(&self.weight).map_err(on_device)?;
        let squares = self.gradient_squares.as_ref().map(permuted).transpose().map_err(on_device)?;
        self.dense = self.dense.is_some().then(|| Arc::clone(&weight));
        (self.weight, self.gradient_squares) = (weight, squares);
        Ok(())
    }

    /// Has a stage prune it.
    pub(super) fn run(
        &mut self,
        (number, stage): (usize, &Stage),
        run_seed: u64,
        tensors: &Arc<DeviceTensors>,
        device: &dyn Device,
        measured: Option<&Measured>,
    ) -> Result<(), Fault> {
        let started = Instant::now();
        let services = Services::new(&stage.info.name, None);
        let place = [number, self.at.block, self.at.projection as usize];
        let call = MethodCall::Layer {
            layer: Box::new(self.data(stage, tensors, device, measured)?),
            seed: seed(run_seed, place),
        };
        let pruned = {
            let _method = profile::span(Kind::Method, Work::default(), || "method and border".to_owned());
            stage.loaded.prune(&call, &services, tensors.clone())
        };
        let applied = pruned.map_err(Fault::from).and_then(|pruned| {
            tensors.check_scores()?;
            let taken = Taken::new(pruned, tensors)?;
            // What was lent is the layer's alone again, and what the method forgot to free is gone.
            tensors.clear();
            self.apply(taken, device)
        });
        tensors.clear();
        self.numbers.extend(services.into_numbers());
        self.time += started.elapsed();
        applied
    }

    /// Lends the layer to a stage.
    pub(super) fn data(
        &self,
        stage: &Stage,
        tensors: &DeviceTensors,
        device: &dyn Device,
        measured: Option<&Measured>,
    ) -> Result<LayerData, Fault> {
        // Others may have asked for more.
        let gradients =
            self.gradient_squares.iter().map(|squares| (Statistic::GradientSquares, Arc::clone(squares)));
        let statistics = measured
            .iter()
            .flat_map(|measured| measured.statistics.iter().cloned())
            .chain(gradients)
            .filter(|(kind, _)| stage.info.statistics.contains(kind))
            .map(|(kind, tensor)| (LayerData::key(kind), tensors.lend(&tensor)));
        let weight = tensors.lend(&self.weight);
        let is_pruned = self.dense.as_ref().is_some_and(|dense| !Arc::ptr_eq(dense, &self.weight));
        let mask = match &self.mask {
            Some(mask) => Some(tensors.lend(mask)),
            None if is_pruned => Some(tensors.lend(&shared(zeros(device, &self.weight)?))),
            None => None,
        };
        Ok(LayerData {
            name: self.at.name(),
            block: self.at.block,
            projection: self.at.projection.name().to_owned(),
            target: self.at.sparsity,
            row_counts: self.at.row_counts.clone(),
            weight,
            dense: self.dense.as_ref().map_or(weight, |dense| tensors.lend(dense)),
            mask,
            low_rank: self.low_rank.as_ref().map(|(left, right)| (tensors.lend(left), tensors.lend(right))),
            tokens: measured.map_or(0, |measured| measured.windows.iter().sum::<usize>() as u64),
            token_weights: measured
                .and_then(|measured| measured.token_weights.as_ref())
                .map(|weights| tensors.lend(weights)),
            windows: measured.map_or_else(Vec::new, |measured| measured.windows.clone()),
            statistics: statistics.collect(),
        })
    }

    /// Applies what a stage made of it.
    pub(super) fn apply(&mut self, pruned: Taken, device: &dyn Device) -> Result<(), Fault> {
        let (rows, cols) = {
            let weight = self.weight.read().unwrap_or_else(PoisonError::into_inner);
            (weight.rows(), weight.cols())
        };
        pruned.check(rows, cols)?;
        let Taken { weight, mask, low_rank, data } = pruned;
        match (weight, &mask) {
            (None, None) => return Err(Fault::Returned("neither a weight nor a mask".to_owned())),
            (Some(weight), None) => self.weight = shared(weight),
            (Some(mut weight), Some(mask)) => {
                device.execute(Op::ZeroWhere { mask }, &mut weight)?;
                self.weight = shared(weight);
            }
            (None, Some(mask)) => match Arc::get_mut(&mut self.weight) {
                Some(weight) => {
                    let weight = weight.get_mut().unwrap_or_else(PoisonError::into_inner);
                    device.execute(Op::ZeroWhere { mask }, weight)?;
                }
                // Somebody else still looks at the old one.
                None => {
                    let mut weight = device.zeros(DType::F32, rows, cols)?;
                    let old = self.weight.read().unwrap_or_else(PoisonError::into_inner);
                    device.execute(Op::Convert { x: &*old }, &mut weight)?;
                    drop(old);
                    device.execute(Op::ZeroWhere { mask }, &mut weight)?;
                    self.weight = shared(weight);
                }
            },
        }
        self.mask = mask.map(shared);
        self.low_rank = low_rank.map(|(left, right)| (shared(left), shared(right))).or(self.low_rank.take());
        self.error = data.error.or(self.error);
        self.numbers.extend(data.numbers);
        self.notes.extend(data.notes.iter().map(|note| text::line(note)));
        Ok(())
    }

    /// What the layer computes with in the model: the weight in the checkpoint's type, with its low-rank part.
    pub(super) fn in_model(&self, device: &dyn Device, dtype: DType) -> Result<Tensor> {
        let rounded = self.rounded(device, dtype)?;
        let on_device = |source| PruneError::Device { layer: self.at.name(), source };
        with_low_rank(device, rounded, self.low_rank.as_ref()).map_err(on_device)
    }

    /// The weight in the checkpoint's type, as it is written.
    fn rounded(&self, device: &dyn Device, dtype: DType) -> Result<Tensor> {
        let on_device = |source| PruneError::Device { layer: self.at.name(), source };
        let weight = self.weight.read().unwrap_or_else(PoisonError::into_inner);
        let mut rounded = device.zeros(dtype, weight.rows(), weight.cols()).map_err(on_device)?;
        device.execute(Op::Convert { x: &*weight }, &mut rounded).map_err(on_device)?;
        Ok(rounded)
    }

    /// The dense weight in the checkpoint's type, which it came from.
    pub(super) fn rounded_dense(&self, device: &dyn Device, dtype: DType) -> Result<Tensor, DeviceError> {
        let dense = self.dense.as_ref().unwrap_or(&self.weight);
        let dense = dense.read().unwrap_or_else(PoisonError::into_inner);
        let mut rounded = device.zeros(dtype, dense.rows(), dense.cols())?;
        device.execute(Op::Convert { x: &*dense }, &mut rounded)?;
        Ok(rounded)
    }

    /// The weight as the last stage left it, f32.
    pub(super) fn to_f32(&self, device: &dyn Device) -> Result<Vec<f32>, DeviceError> {
        device.to_f32(&self.weight.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks the result, writes it, and reports. Returns the weight as it was written, too.
    pub(super) fn finish(
        self,
        model: &Llama,
        output: &mut CheckpointWriter,
        dtype: DType,
        zero_features: usize,
    ) -> Result<(Tensor, LayerReport)> {
        let started = Instant::now();
        let device = &*model.device;
        let name = self.at.name();
        let on_device = |source| PruneError::Device { layer: name.clone(), source };
        let returned = |message| PruneError::Returned { layer: name.clone(), message };
        let (target, row_counts) = (self.at.sparsity, self.at.row_counts.clone());
        let rounded = self.rounded(device, dtype)?;
        let Self { weight, dense, mask, low_rank, error, numbers, mut notes, time, .. } = self;
        drop((weight, dense));
        let (rows, cols) = (rounded.rows(), rounded.cols());
        let mut bytes = device.read(&rounded).map_err(on_device)?;
        let zeros = weights::clean(dtype, &mut bytes, cols).map_err(returned)?;
        // A kept weight that is 0 is not a pruned one.
        let pruned = match mask {
            Some(mask) => {
                let mask = mask.read().unwrap_or_else(PoisonError::into_inner);
                let words = device.read(&mask).map_err(on_device)?;
                words.iter().map(|byte| byte.count_ones() as usize).sum()
            }
            None => zeros,
        };
        // A weight that cannot be read any more is found when the next block is loaded.
        let before = || model.checkpoint.tensor(&name).map_or(0, |dense| weights::zeros(&dense));
        let rank =
            low_rank.as_ref().map(|(left, _)| left.read().unwrap_or_else(PoisonError::into_inner).cols());
        let sizes = weights::Sizes { rows, cols, rank: rank.unwrap_or(0) };
        let remark = weights::compare(target, dtype, &bytes, sizes, pruned, before).map_err(returned)?;
        let other_rows = row_counts.and_then(|counts| weights::compare_rows(dtype, &bytes, &counts));
        output.write(&name, bytes)?;
        if let (Some((left, right)), Some(rank)) = (&low_rank, rank) {
            let factor = |factor: &Shared| -> Result<Vec<u8>> {
                let factor = factor.read().unwrap_or_else(PoisonError::into_inner);
                let mut bytes = device.read(&factor).map_err(on_device)?;
                let checked = weights::clean(DType::F32, &mut bytes, factor.cols());
                checked.map_err(|why| returned(format!("in its low-rank part, {why}")))?;
                Ok(bytes)
            };
            output.write_low_rank(&name, (rows, rank, cols), factor(left)?, factor(right)?)?;
        }
        let in_model = with_low_rank(device, rounded, low_rank.as_ref()).map_err(on_device)?;
        notes.extend(remark);
        notes.extend(other_rows);
        if zero_features > 0 {
            notes.push(format!("{zero_features} input features were 0 for every token"));
        }
        let report = LayerReport {
            name,
            shape: [rows, cols],
            target,
            zeros,
            sparsity: zeros as f64 / (rows * cols) as f64,
            rank,
            error,
            numbers,
            notes,
            seconds: (time + started.elapsed()).as_secs_f64(),
        };
        Ok((in_model, report))
    }
}

/// A weight with its low-rank part, if it has one.
fn with_low_rank(
    device: &dyn Device,
    weight: Tensor,
    low_rank: Option<&(Shared, Shared)>,
) -> Result<Tensor, DeviceError> {
    let Some((left, right)) = low_rank else { return Ok(weight) };
    let (left, right) = (left.read(), right.read());
    let (left, right) =
        (left.unwrap_or_else(PoisonError::into_inner), right.unwrap_or_else(PoisonError::into_inner));
    merged(device, &weight, &left, &right)
}

/// The elements of a matrix whose groups of rows or columns are in another order.
fn permuted(elements: &[f32], cols: usize, group: Group, order: &[usize]) -> Vec<f32> {
    let from: Vec<usize> =
        order.iter().flat_map(|&place| place * group.width..(place + 1) * group.width).collect();
    if group.is_rows {
        from.iter().flat_map(|row| &elements[row * cols..(row + 1) * cols]).copied().collect()
    } else {
        elements.chunks_exact(cols).flat_map(|row| from.iter().map(|&col| row[col])).collect()
    }
}

/// The mask of a weight's zeros.
fn zeros(device: &dyn Device, weight: &Shared) -> Result<Tensor, DeviceError> {
    let weight = weight.read().unwrap_or_else(PoisonError::into_inner);
    let nothing = device.zeros(DType::F32, 1, 1)?;
    let mut mask = device.zeros(DType::U32, weight.rows(), weight.cols().div_ceil(32))?;
    let scores = Scores::of(Unary::Abs, &*weight);
    device.execute(Op::AtMost { scores, thresholds: &nothing }, &mut mask)?;
    Ok(mask)
}

/// Has these stages prune a layer.
pub(super) fn prune(
    model: &Llama,
    stages: &[(usize, &Stage)],
    run_seed: u64,
    tensors: &Arc<DeviceTensors>,
    state: &mut LayerState,
    measured: Option<&Measured>,
) -> Result<()> {
    interrupt::check()?;
    let name = state.at.name();
    let _layer = profile::stage(|| name.clone());
    for &stage in stages {
        let done = state.run(stage, run_seed, tensors, &*model.device, measured);
        if done.is_err() {
            // What stops a method from outside comes back as its error.
            interrupt::check()?;
        }
        done.map_err(|fault| fault.at(&name))?;
    }
    Ok(())
}
