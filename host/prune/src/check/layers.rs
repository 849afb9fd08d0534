//! Made-up layers: odd shapes, patterns, inputs and weights that are 0, equal or extreme, twice over, and on every device.

use super::{CaseOutcome, CaseReport, CaseTime, Fault, HALF, compare_zeros, noise, one_thread};
use crate::{
    Method, PruneError, Result,
    answer::Fault as LayerFault,
    layer::{LayerPlace, LayerState},
    statistics::{Gatherer, Measured},
    weights,
};
use espalier_base::interrupt;
use espalier_device::{DType, Device, DeviceError, Op, Scores, Selection, Tensor, Unary};
use espalier_model::layout::{LayerInput, Projection};
use espalier_plugins::DeviceTensors;
use espalier_sdk::Sparsity;
use std::{
    sync::{Arc, RwLock},
    time::Instant,
};

/// A made-up layer.
pub(super) struct Case {
    name: &'static str,
    /// `[out_features, in_features]`
    shape: (usize, usize),
    tokens: usize,
    target: Sparsity,
    /// Changes the weight at a row and a column.
    weight: fn(f32, usize, usize) -> f32,
    /// Changes a feature of an input.
    input: fn(f32, usize) -> f32,
}

/// An ordinary layer, which the others differ from.
const PLAIN: Case =
    Case { name: "square", shape: (64, 64), tokens: 256, target: HALF, weight: |x, _, _| x, input: |x, _| x };

pub(super) const CASES: [Case; 14] = [
    PLAIN,
    Case { name: "odd shape", shape: (33, 65), ..PLAIN },
    Case { name: "wide, 0.7", shape: (7, 300), target: Sparsity::Ratio(0.7), ..PLAIN },
    Case { name: "tall, 0.3", shape: (300, 20), target: Sparsity::Ratio(0.3), ..PLAIN },
    Case { name: "one row", shape: (1, 64), ..PLAIN },
    Case { name: "one column", shape: (64, 1), ..PLAIN },
    Case { name: "pattern 2:4", shape: (32, 64), target: Sparsity::Pattern { n: 2, m: 4 }, ..PLAIN },
    Case { name: "pattern 4:8", shape: (32, 64), target: Sparsity::Pattern { n: 4, m: 8 }, ..PLAIN },
    Case { name: "few tokens", tokens: 8, ..PLAIN },
    Case { name: "dead inputs", input: |x, feature| if feature % 3 == 0 { 0.0 } else { x }, ..PLAIN },
    Case { name: "zero rows", weight: |x, row, _| if row % 8 == 0 { 0.0 } else { x }, ..PLAIN },
    Case { name: "equal weights", weight: |_, _, _| 0.5, ..PLAIN },
    Case { name: "weights × 1e15", weight: |x, _, _| x * 1e15, ..PLAIN },
    Case { name: "weights × 1e-15", weight: |x, _, _| x * 1e-15, ..PLAIN },
];

/// The layer that the method is timed on.
const TIMED: Case = Case { name: "timed", shape: (512, 512), tokens: 1024, ..PLAIN };

pub(super) fn check(
    method: &Method,
    devices: &[Arc<dyn Device>],
    progress: &mut dyn FnMut(),
) -> Result<(Vec<CaseReport>, Vec<CaseTime>)> {
    let mut cases = Vec::new();
    for case in &CASES {
        let mut first: Option<Vec<f32>> = None;
        for (place, device) in devices.iter().enumerate() {
            interrupt::check()?;
            let (outcome, detail) = match case.check(method, device, first.as_deref()) {
                Ok(Checked { weight, sparsity }) => {
                    first.get_or_insert(weight);
                    (CaseOutcome::Ok, format!("sparsity {sparsity:.4}"))
                }
                Err(fault) => fault.outcome(case.name == PLAIN.name)?,
            };
            let shape = [case.shape.0, case.shape.1];
            cases.push(CaseReport {
                case: case.name,
                shape,
                target: case.target,
                device: place,
                outcome,
                detail,
            });
        }
        progress();
    }
    let times = devices.iter().map(|device| time(method, device)).collect::<Result<_>>()?;
    Ok((cases, times))
}

/// A layer that passed.
struct Checked {
    weight: Vec<f32>,
    sparsity: f64,
}

impl From<DeviceError> for Fault {
    fn from(source: DeviceError) -> Self {
        Self::Device(PruneError::Device { layer: "a made-up layer".to_owned(), source })
    }
}

impl Case {
    fn weights(&self) -> Vec<f32> {
        let (rows, cols) = self.shape;
        let noise = noise(rows * cols, 1);
        noise.into_iter().enumerate().map(|(at, x)| (self.weight)(x, at / cols, at % cols)).collect()
    }

    /// The statistics that the method needs.
    fn measure(&self, method: &Method, device: &dyn Device) -> Result<Option<Measured>> {
        if !method.measures() {
            return Ok(None);
        }
        let cols = self.shape.1;
        let inputs = noise(self.tokens * cols, 2);
        let inputs = inputs.into_iter().enumerate().map(|(at, x)| (self.input)(x, at % cols)).collect();
        let on_device = |source| PruneError::Device { layer: "a made-up layer".to_owned(), source };
        let inputs = device.from_f32(self.tokens, cols, inputs).map_err(on_device)?;
        let read = [LayerInput::Mlp];
        let mut gatherer = Gatherer::new(device, &method.first().info.statistics, &read, self.tokens);
        gatherer.add(LayerInput::Mlp, &inputs, &[self.tokens], &[]).map_err(on_device)?;
        Ok(gatherer.finish(0)?.remove(&LayerInput::Mlp))
    }

    /// The pruned weight.
    fn prune(
        &self,
        method: &Method,
        device: &Arc<dyn Device>,
        weights: &[f32],
        measured: Option<&Measured>,
    ) -> Result<Vec<f32>, Fault> {
        let (rows, cols) = self.shape;
        let weight = device.from_f32(rows, cols, weights.to_vec())?;
        let tensors = Arc::new(DeviceTensors::new(Arc::clone(device)));
        let at = LayerPlace { block: 0, projection: Projection::Up, sparsity: self.target, row_counts: None };
        let squares = noise(rows * cols, 4).into_iter().map(|x| x * x).collect();
        let squares = Arc::new(RwLock::new(device.from_f32(rows, cols, squares)?));
        let mut state = LayerState::of(weight, at, false).with_gradients(Some(squares));
        state.run((0, method.first()), 0, &tensors, &**device, measured).map_err(|fault| match fault {
            LayerFault::Device(error) => Fault::from(error),
            LayerFault::Returned(message) => Fault::Failed(format!("it returned {message}")),
            LayerFault::Method(error) => Fault::of(&error),
        })?;
        Ok(state.to_f32(&**device)?)
    }

    fn check(
        &self,
        method: &Method,
        device: &Arc<dyn Device>,
        first: Option<&[f32]>,
    ) -> Result<Checked, Fault> {
        let measured = self.measure(method, &**device).map_err(Fault::Device)?;
        let dense = self.weights();
        let weight = self.prune(method, device, &dense, measured.as_ref())?;
        let again = one_thread()?.install(|| self.prune(method, device, &dense, measured.as_ref()))?;
        let bits = |weight: &[f32]| weight.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        if bits(&weight) != bits(&again) {
            return Err(Fault::Failed(
                "the same layer, pruned again on one thread, gave different weights".to_owned(),
            ));
        }
        let mut bytes = bytemuck::cast_slice(&weight).to_vec();
        let zeros = weights::clean(DType::F32, &mut bytes, self.shape.1).map_err(Fault::Failed)?;
        let sizes = weights::Sizes { rows: self.shape.0, cols: self.shape.1, rank: 0 };
        let before = || dense.iter().filter(|x| **x == 0.0).count();
        weights::compare(self.target, DType::F32, &bytes, sizes, zeros, before).map_err(Fault::Failed)?;
        if let Some(first) = first {
            compare_zeros(&weight, first)?;
        }
        Ok(Checked { sparsity: zeros as f64 / weight.len() as f64, weight })
    }
}

/// The time of the second of two runs, of the method and of zeroing the smallest weights; uploads and downloads included.
fn time(method: &Method, device: &Arc<dyn Device>) -> Result<CaseTime> {
    let on_device = |source| PruneError::Device { layer: "the timed layer".to_owned(), source };
    let measured = TIMED.measure(method, &**device)?;
    let weights = TIMED.weights();
    let mut times = CaseTime { method: f64::NAN, smallest: f64::NAN };
    for _ in 0..2 {
        interrupt::check()?;
        let began = Instant::now();
        // A method that cannot do this has no time; why is in the report's cases.
        times.method = match TIMED.prune(method, device, &weights, measured.as_ref()) {
            Ok(_) => began.elapsed().as_secs_f64(),
            Err(Fault::Device(error)) => return Err(error),
            Err(_) => f64::NAN,
        };
        let began = Instant::now();
        zero_smallest(&**device, &weights).map_err(on_device)?;
        times.smallest = began.elapsed().as_secs_f64();
    }
    Ok(times)
}

/// Zeroes the smallest half of the weights.
fn zero_smallest(device: &dyn Device, weights: &[f32]) -> Result<Tensor, DeviceError> {
    let (rows, cols) = TIMED.shape;
    let mut weight = device.from_f32(rows, cols, weights.to_vec())?;
    let mut mask = device.zeros(DType::U32, rows, cols.div_ceil(32))?;
    let selection = Selection::Whole { count: HALF.count(rows * cols) };
    device.execute(Op::Select { scores: Scores::of(Unary::Abs, &weight), selection }, &mut mask)?;
    device.execute(Op::ZeroWhere { mask: &mask }, &mut weight)?;
    device.to_f32(&weight)?;
    Ok(weight)
}
