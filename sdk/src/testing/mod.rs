//! Testing a plugin without the host: a plain device, layers with all their statistics, and methods made from
//! options as the host makes them.
//!
//! ```
//! use espalier_sdk::{testing, *};
//! # struct Smallest;
//! # impl Method for Smallest {
//! #     fn info() -> MethodInfo {
//! #         MethodInfo::new("smallest", "drops the smallest weights of every row")
//! #     }
//! #     fn new(_: &Options) -> Result<Self> {
//! #         Ok(Self)
//! #     }
//! #     fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
//! #         let magnitudes = Scores::of(Unary::Abs, &layer.weight);
//! #         Ok(layer.smallest_per_row(run.device(), magnitudes)?.into())
//! #     }
//! # }
//! # fn main() -> Result<()> {
//! let device = testing::device();
//! let weight = testing::tensor(&device, &[[1.0, -4.0], [2.0, 3.0]])?;
//! let inputs = testing::random(&device, 16, 2, 0)?;
//! let layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.5))?;
//! let pruned = testing::prune(&testing::method::<Smallest>(&[])?, &layer, &device)?;
//! assert_eq!(testing::rows(&pruned.weight)?, [[0.0, -4.0], [0.0, 3.0]]);
//! # Ok(())
//! # }
//! ```

mod compute;
mod device;
mod model;
mod selection;

pub use model::ToyModel;
pub use selection::select;

use crate::{
    Axis, Binary, Code, Device, Error, Layer, Mask, Method, OptionSpec, Options, Pruned, Reduction, Result,
    Rng, Run, Sparsity, Statistic, Tensor, Unary,
    abi::LoadedMethod,
    message::{HostCall, HostReply, HostService, Level, MethodAnswer, MethodCall, unsupported},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// A device that computes plainly on the CPU, in double precision where sums are long, and checks more than a fast
/// device does: operands, and that scores are neither negative nor NaN. It holds f32 and u32 tensors, has no
/// operations of the forward pass, and runs the CPU twins of kernels.
pub fn device() -> Device {
    device::new()
}

/// An f32 tensor of these rows.
///
/// # Errors
/// Rows of different lengths.
pub fn tensor(device: &Device, rows: &[impl AsRef<[f32]>]) -> Result<Tensor> {
    let cols = rows.first().map_or(0, |row| row.as_ref().len());
    if rows.iter().any(|row| row.as_ref().len() != cols) {
        return Err(Error::invalid("the rows of a tensor have one length"));
    }
    let elements: Vec<f32> = rows.iter().flat_map(|row| row.as_ref()).copied().collect();
    device.from_slice(rows.len(), cols, &elements)
}

/// An f32 tensor of random elements in `[-1, 1)`; the same seed gives the same elements.
///
/// # Errors
/// The device has no memory left.
pub fn random(device: &Device, rows: usize, cols: usize, seed: u64) -> Result<Tensor> {
    let mut rng = Rng::new(seed);
    let elements: Vec<f32> = (0..rows * cols).map(|_| (2.0 * rng.unit() - 1.0) as f32).collect();
    device.from_slice(rows, cols, &elements)
}

/// The rows of an f32 tensor.
///
/// # Errors
/// The tensor is not f32, or the device failed.
pub fn rows(tensor: &Tensor) -> Result<Vec<Vec<f32>>> {
    let elements = tensor.to_vec()?;
    Ok((0..tensor.rows()).map(|row| elements[row * tensor.cols()..][..tensor.cols()].to_vec()).collect())
}

/// The share of a tensor's elements that are 0.
///
/// # Errors
/// As [`rows`].
pub fn sparsity(tensor: &Tensor) -> Result<f64> {
    let elements = tensor.to_vec()?;
    Ok(elements.iter().filter(|element| **element == 0.0).count() as f64 / elements.len() as f64)
}

/// A layer with this weight `[out_features, in_features]`, every statistic of these inputs `[tokens, in_features]`, and
/// this target. Gradients are those of the loss `½‖W x‖²`, of which every token is a window.
///
/// # Errors
/// The inputs have another number of columns, or the device failed.
pub fn layer(device: &Device, weight: Tensor, inputs: Tensor, target: Sparsity) -> Result<Layer> {
    if inputs.cols() != weight.cols() {
        return Err(Error::invalid(format!(
            "the inputs have {} columns and the weight {}",
            inputs.cols(),
            weight.cols()
        )));
    }
    let squares = device.reduce(Reduction::SumSquares, Axis::EachColumn, &inputs)?;
    let mut gram = device.zeros(crate::DType::F32, inputs.cols(), inputs.cols())?;
    device.matmul(1.0, inputs.view().t(), inputs.view(), 0.0, gram.view_mut())?;
    let mut layer = Layer::new(weight, target);
    let statistics = &mut layer.statistics;
    statistics.tokens = inputs.rows() as u64;
    statistics.windows = vec![inputs.rows()];
    *statistics.slot(Statistic::ColumnNorms) = Some(device.map(Unary::Sqrt, &squares)?);
    *statistics.slot(Statistic::Gram) = Some(gram);
    *statistics.slot(Statistic::MeanVariance) = Some(mean_variance(device, &inputs)?);
    *statistics.slot(Statistic::GradientSquares) = Some(gradient_squares(device, &layer.weight, &inputs)?);
    *statistics.slot(Statistic::Inputs) = Some(inputs);
    Ok(layer)
}

/// Of the loss `½‖W x‖²`, token by token: its gradient is `(W x) xᵀ`.
fn gradient_squares(device: &Device, weight: &Tensor, inputs: &Tensor) -> Result<Tensor> {
    let mut outputs = device.zeros(crate::DType::F32, inputs.rows(), weight.rows())?;
    device.matmul(1.0, inputs.view(), weight.view().t(), 0.0, outputs.view_mut())?;
    let (outputs, inputs) = (device.map(Unary::Square, &outputs)?, device.map(Unary::Square, inputs)?);
    let mut sums = device.zeros(crate::DType::F32, weight.rows(), weight.cols())?;
    device.matmul(1.0, outputs.view().t(), inputs.view(), 0.0, sums.view_mut())?;
    Ok(sums)
}

/// What a method made of a layer.
#[derive(Debug)]
pub struct PrunedLayer {
    /// The weight with its mask applied, without a low-rank part.
    pub weight: Tensor,
    /// The mask, where the method gave one.
    pub mask: Option<Mask>,
    /// The low-rank part.
    pub low_rank: Option<(Tensor, Tensor)>,
    /// The method's own measure.
    pub error: Option<f64>,
    /// Its numbers.
    pub numbers: BTreeMap<String, f64>,
    /// Its remarks.
    pub notes: Vec<String>,
}

/// Calls a method for a layer, and applies what it answers as the host does: shapes are checked, and that every element is
/// finite.
///
/// # Errors
/// The method's error, or an answer that the host would refuse.
pub fn prune(method: &impl Method, layer: &Layer, device: &Device) -> Result<PrunedLayer> {
    finish(method.layer(layer, &Run::new(device.clone(), &NoHost, 0))?, layer, device)
}

/// As [`prune`], of a method in a library that was built: every call crosses the FFI boundary, as it does in the host.
///
/// # Errors
/// As [`prune`].
pub fn prune_loaded(method: &LoadedMethod, layer: &Layer, device: &Device) -> Result<PrunedLayer> {
    let lent = layer.data();
    let call = MethodCall::Layer { layer: Box::new(lent.clone()), seed: 0 };
    match method.call(&call, &NoHost, device.service())? {
        MethodAnswer::Pruned(pruned) => {
            finish(Pruned::from_data(pruned, device, layer.weight.cols(), &[lent])?, layer, device)
        }
        other => Err(Error::invalid(format!("the method answered with something else: {other:?}"))),
    }
}

/// Applies what a method answered.
fn finish(pruned: Pruned, layer: &Layer, device: &Device) -> Result<PrunedLayer> {
    let Pruned { weight, mask, low_rank, error, numbers, notes } = pruned;
    if weight.is_none() && mask.is_none() {
        return Err(Error::invalid("the answer has neither a weight nor a mask"));
    }
    let weight = weight.map_or_else(|| device.map(Unary::Identity, &layer.weight), Ok)?;
    let (rows, cols) = (layer.weight.rows(), layer.weight.cols());
    if (weight.rows(), weight.cols()) != (rows, cols) {
        return Err(Error::invalid(format!("{weight:?} is returned where [{rows}, {cols}] is expected")));
    }
    let weight = match &mask {
        Some(mask) => device.zero_where(mask, &weight)?,
        None => weight,
    };
    if let Some((left, right)) = &low_rank
        && (left.rows(), right.cols(), left.cols()) != (rows, cols, right.rows())
    {
        return Err(Error::invalid(format!(
            "a low-rank part {left:?} × {right:?} is returned where [{rows}, rank] × [rank, {cols}] is expected"
        )));
    }
    for tensor in low_rank.iter().flat_map(|(left, right)| [left, right]).chain([&weight]) {
        if let Some(at) = tensor.to_vec()?.iter().position(|element| !element.is_finite()) {
            let (row, col) = (at / tensor.cols(), at % tensor.cols());
            let message = format!("the entry at row {row}, column {col} of {tensor:?} is not finite");
            return Err(Error::new(Code::Numeric, message));
        }
    }
    Ok(PrunedLayer { weight, mask, low_rank, error, numbers, notes })
}

/// A run without a host: it writes warnings to standard error, and has no block and no model.
pub fn run(device: &Device) -> Run<'static> {
    Run::new(device.clone(), &NoHost, 0)
}

struct NoHost;

impl HostService for NoHost {
    fn call(&self, call: HostCall) -> Result<HostReply> {
        match call {
            HostCall::Log { level: Level::Warn, text } => eprintln!("warning: {text}"),
            HostCall::Log { .. } | HostCall::Progress { .. } | HostCall::Number { .. } => {}
            other => return Err(unsupported(other.name())),
        }
        Ok(HostReply::Done)
    }
}

/// Means above variances, `[2, cols]`.
fn mean_variance(device: &Device, inputs: &Tensor) -> Result<Tensor> {
    let tokens = inputs.rows().max(1) as f32;
    let sums = device.reduce(Reduction::Sum, Axis::EachColumn, inputs)?;
    let means = device.affine(Unary::Identity, &sums, 1.0 / tokens, 0.0)?;
    let centred = device.zip(Unary::Identity, inputs, Binary::Subtract, &means)?;
    let squares = device.reduce(Reduction::SumSquares, Axis::EachColumn, &centred)?;
    let variances = device.affine(Unary::Identity, &squares, 1.0 / tokens, 0.0)?;
    tensor(device, &[means.to_vec()?, variances.to_vec()?])
}

/// A method made with these options, the others at their defaults.
///
/// # Errors
/// An option that the method does not have, or a value that it refuses.
pub fn method<M: Method>(options: &[(&str, Value)]) -> Result<M> {
    M::new(&self::options(&M::info().options, options)?)
}

fn options(specs: &[OptionSpec], given: &[(&str, Value)]) -> Result<Options> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Options::resolve(specs, &given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kernel, Scores};

    #[test]
    fn a_layer_has_every_statistic() {
        let device = device();
        let weight = random(&device, 3, 2, 1).unwrap();
        let inputs = tensor(&device, &[[3.0, 1.0], [4.0, -1.0]]).unwrap();
        let statistics = layer(&device, weight, inputs, Sparsity::Ratio(0.5)).unwrap().statistics;
        assert_eq!(statistics.tokens, 2);
        assert_eq!(rows(statistics.column_norms().unwrap()).unwrap(), [[5.0, 2f32.sqrt()]]);
        assert_eq!(rows(statistics.gram().unwrap()).unwrap(), [[25.0, -1.0], [-1.0, 2.0]]);
        assert_eq!(rows(statistics.mean_variance().unwrap()).unwrap(), [[3.5, 0.0], [0.25, 1.0]]);
        assert_eq!(statistics.inputs().unwrap().rows(), 2);
    }

    #[test]
    fn preconditions_are_checked() {
        let device = device();
        let x = tensor(&device, &[[1.0, f32::NAN], [2.0, 3.0]]).unwrap();
        let error = device.smallest_per_row(&x, Sparsity::Ratio(0.5)).unwrap_err();
        assert_eq!(error.code, Code::Numeric);
        assert!(error.to_string().contains("the score at row 0, column 1 is NaN"), "{error}");
        let negative = tensor(&device, &[[-1.0, 2.0]]).unwrap();
        let error = device.smallest_per_row(&negative, Sparsity::Ratio(0.5)).unwrap_err();
        assert!(error.to_string().contains("is negative"), "{error}");
        let magnitudes = Scores::of(Unary::Abs, &negative);
        assert_eq!(device.smallest_per_row(magnitudes, Sparsity::Ratio(0.5)).unwrap().count().unwrap(), 1);
        let error = device.cholesky(tensor(&device, &[[1.0, 2.0], [2.0, 1.0]]).unwrap()).unwrap_err();
        assert_eq!(error.code, Code::Numeric);
        assert!(device.zip(Unary::Identity, &x, Binary::Add, &random(&device, 3, 3, 0).unwrap()).is_err());
        assert!(tensor(&device, &[vec![1.0], vec![1.0, 2.0]]).is_err());
    }

    #[test]
    fn kernels_run_their_twins() {
        let device = device();
        let double = |buffers: &mut [crate::Buffer], params: &[u8]| {
            let factor = f32::from(params[0]);
            buffers[0].f32_mut()?.iter_mut().for_each(|x| *x *= factor);
            Ok(())
        };
        let kernel =
            Kernel { name: "double", wgsl: "", bindings: &[crate::Access::Write], cpu: Some(double) };
        let mut x = tensor(&device, &[[1.0, 2.0]]).unwrap();
        device.run(&kernel, &[], &mut [&mut x], &[2, 0, 0, 0], 1).unwrap();
        assert_eq!(rows(&x).unwrap(), [[2.0, 4.0]]);
        let without = Kernel { cpu: None, ..kernel };
        let error = device.run(&without, &[], &mut [&mut x], &[2, 0, 0, 0], 1).unwrap_err();
        assert_eq!(error.code, Code::Unsupported);
    }
}
