//! Pruning one linear layer: over the plugin border and back, checked, rounded and written.

use super::{Measured, Plan, PruneError, Result};
use crate::{
    device::{DType, Tensor},
    model::{CheckpointWriter, LayerInput, Linear, Llama, Projection},
    plugins::DeviceTensors,
};
use bytes::Bytes;
use rayon::prelude::*;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Instant};

/// What became of one linear layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// The weight's name in the checkpoint.
    pub name: String,
    /// `[out_features, in_features]`
    pub shape: [usize; 2],
    /// Zeros in the written weight.
    pub zeros: usize,
    /// Their share.
    pub sparsity: f64,
    /// The method's own measure of what pruning cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// The method's remarks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Wall time of the method, in seconds.
    pub seconds: f64,
}

/// Prunes one layer: its weight in `linear` is replaced by the pruned one, as written to `output`.
pub(super) fn prune(
    model: &Llama,
    plan: &Plan,
    tensors: &Arc<DeviceTensors>,
    (block, projection): (usize, Projection),
    linear: &mut Linear,
    measured: &BTreeMap<LayerInput, Measured>,
    output: &mut CheckpointWriter,
) -> Result<LayerReport> {
    let started = Instant::now();
    let device = &*model.device;
    let name = projection.weight_name(block);
    let (rows, cols) = (linear.weight.rows(), linear.weight.cols());
    let dtype = linear.weight.dtype();
    let on_device = |source| PruneError::Device { layer: name.clone(), source };

    let mut weight = device.zeros(DType::F32, rows, cols).map_err(on_device)?;
    device.convert(&linear.weight, &mut weight).map_err(on_device)?;
    let (weight, pruned) = call_method(model, plan, tensors, (&name, block), weight, projection, measured)?;
    drop(weight);

    let (pruned, error, notes) = pruned;
    let returned = |message| PruneError::Returned { layer: name.clone(), message };
    if (pruned.rows(), pruned.cols(), pruned.dtype()) != (rows, cols, DType::F32) {
        return Err(returned(format!(
            "{} [{}, {}] where f32 [{rows}, {cols}] is due",
            pruned.dtype(),
            pruned.rows(),
            pruned.cols()
        )));
    }
    // The next block sees what is written: the weight in the checkpoint's own type.
    let mut rounded = device.zeros(dtype, rows, cols).map_err(on_device)?;
    device.convert(&pruned, &mut rounded).map_err(on_device)?;
    drop(pruned);
    let mut bytes = device.read(&rounded).map_err(on_device)?;
    let zeros = clean(dtype, &mut bytes, cols).map_err(returned)?;
    output.write(&name, &bytes)?;
    linear.weight = device.upload(dtype, rows, cols, Bytes::from(bytes)).map_err(on_device)?;
    drop(rounded);
    Ok(LayerReport {
        name,
        shape: [rows, cols],
        zeros,
        sparsity: zeros as f64 / (rows * cols) as f64,
        error,
        notes,
        seconds: started.elapsed().as_secs_f64(),
    })
}

type FromMethod = (Tensor, Option<f64>, Vec<String>);

/// Lends the weight and its statistics to the method, and takes what it made.
fn call_method(
    model: &Llama,
    plan: &Plan,
    tensors: &Arc<DeviceTensors>,
    (name, block): (&str, usize),
    weight: Tensor,
    projection: Projection,
    measured: &BTreeMap<LayerInput, Measured>,
) -> Result<(Tensor, FromMethod)> {
    let failed = |source| PruneError::Method { layer: name.to_owned(), source };
    let weight = tensors.insert(weight);
    let mut statistics = Vec::new();
    let mut tokens = 0;
    if let Some(measured) = measured.get(&projection.input()) {
        tokens = measured.tokens as u64;
        for (kind, tensor) in &measured.statistics {
            let values = model.device.to_f32(tensor).map_err(|e| failed(e.into()))?;
            if let Some(feature) = values.iter().position(|value| !value.is_finite()) {
                let layer = name.to_owned();
                return Err(PruneError::Inputs { layer, feature, value: values[feature] });
            }
            let copy = model.device.from_f32(tensor.rows(), tensor.cols(), values);
            statistics.push((*kind, tensors.insert(copy.map_err(|e| failed(e.into()))?)));
        }
    }
    let result = plan.method.prune(name, block, weight, tokens, &statistics, plan.sparsity, tensors.clone());
    let pruned = result.and_then(|pruned| {
        let tensor = tensors.take(pruned.weight.id)?;
        Ok((tensor, pruned.error, pruned.notes))
    });
    let weight = tensors.take(weight.id);
    // What the method forgot to free must not pile up over a model's layers.
    tensors.clear();
    Ok((weight.map_err(failed)?, pruned.map_err(failed)?))
}

/// Counts the zeros, makes them all positive, and refuses what is not a number.
fn clean(dtype: DType, bytes: &mut [u8], cols: usize) -> std::result::Result<usize, String> {
    // Exponent bits all set: NaN or infinite.
    let (size, exponent) = match dtype {
        DType::F32 | DType::U32 => (4, 0x7f80_0000),
        DType::F16 => (2, 0x7c00),
        DType::BF16 => (2, 0x7f80),
    };
    let sign = 1u32 << (8 * size - 1);
    let rows = bytes.par_chunks_mut(cols * size).enumerate().map(|(row, line)| {
        let mut zeros = 0;
        for (col, element) in line.chunks_exact_mut(size).enumerate() {
            let mut word = [0; 4];
            word[..size].copy_from_slice(element);
            let bits = u32::from_le_bytes(word) & !sign;
            if bits == 0 {
                element.fill(0);
                zeros += 1;
            } else if bits & exponent == exponent {
                return Err(format!("the entry at row {row}, column {col} is not a finite {dtype}"));
            }
        }
        Ok(zeros)
    });
    rows.try_reduce(|| 0, |a, b| Ok(a + b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_and_made_positive() {
        let mut bytes: Vec<u8> = [1.0f32, -0.0, 0.0, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(clean(DType::F32, &mut bytes, 2), Ok(2));
        assert_eq!(bytes[4..8], [0; 4]);
        let mut bytes: Vec<u8> =
            [0x8000u16, 0x3f80, 0x0000, 0xbf80].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(clean(DType::BF16, &mut bytes, 4), Ok(2));
        assert_eq!(bytes[..2], [0; 2]);
    }

    #[test]
    fn what_is_no_number_is_named() {
        let mut bytes: Vec<u8> =
            [1.0f32, 0.0, 0.0, f32::INFINITY].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(clean(DType::F32, &mut bytes, 2).unwrap_err().contains("row 1, column 1"));
        let mut bytes = 0x7c01u16.to_le_bytes().to_vec();
        assert!(clean(DType::F16, &mut bytes, 1).is_err());
    }
}
