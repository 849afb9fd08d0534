//! What is measured of the inputs of a block's linear layers.

use super::Result;
use crate::{
    device::{Axis, DType, Device, Reduction, Tensor, Unary},
    interrupt,
    model::{Block, HiddenStates, LayerInput, Llama},
};
use espalier_sdk::Statistic;
use std::{collections::BTreeMap, ops::ControlFlow};

/// The statistics of one input, shared by the layers that read it.
pub struct Measured {
    /// Tokens measured.
    pub tokens: usize,
    /// Each statistic the method asked for.
    pub statistics: Vec<(Statistic, Tensor)>,
}

/// Runs every batch through a block, dense, and gathers `needed` of the inputs of its linear layers.
/// Layers that share an input share its statistics. The hidden states are left as they are.
pub(super) fn measure(
    model: &Llama,
    block: &Block,
    hidden: &HiddenStates,
    needed: &[Statistic],
    progress: &mut dyn FnMut(usize),
) -> Result<BTreeMap<LayerInput, Measured>> {
    let device = &*model.device;
    let mut sums: BTreeMap<LayerInput, Measured> = BTreeMap::new();
    if needed.is_empty() {
        return Ok(sums);
    }
    for (batch, states) in hidden.batches() {
        interrupt::check()?;
        let mut scratch = device.zeros(DType::F32, states.rows(), states.cols())?;
        device.copy_rows(states, 0, &mut scratch)?;
        model.forward_block(block, batch, &mut scratch, &mut |input, x| {
            accumulate(device, sums.entry(input), x, needed)?;
            // Nothing after the last input adds to the statistics.
            Ok(if input == LayerInput::MlpOutput {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        progress(batch.tokens.len());
    }
    for measured in sums.values_mut() {
        for (kind, sum) in &mut measured.statistics {
            *sum = finish(device, *kind, sum)?;
        }
    }
    Ok(sums)
}

type Slot<'a> = std::collections::btree_map::Entry<'a, LayerInput, Measured>;

fn accumulate(
    device: &dyn Device,
    slot: Slot,
    x: &Tensor,
    needed: &[Statistic],
) -> crate::device::Result<()> {
    let measured = match slot {
        Slot::Occupied(slot) => slot.into_mut(),
        Slot::Vacant(slot) => {
            let zeros = |&kind| Ok((kind, device.zeros(DType::F32, 1, x.cols())?));
            let statistics = needed.iter().map(zeros).collect::<crate::device::Result<_>>()?;
            slot.insert(Measured { tokens: 0, statistics })
        }
    };
    measured.tokens += x.rows();
    for (kind, sum) in &mut measured.statistics {
        match kind {
            Statistic::ColumnNorms => {
                device.reduce(Reduction::SumSquares, Axis::EachColumn, x, true, sum)?;
            }
            kind => {
                return Err(crate::device::DeviceError::Invalid {
                    operation: "statistics",
                    message: format!("this host cannot measure {kind:?}"),
                });
            }
        }
    }
    Ok(())
}

/// From what was summed to what a method sees.
fn finish(device: &dyn Device, _kind: Statistic, sum: &Tensor) -> crate::device::Result<Tensor> {
    let mut norms = device.zeros(DType::F32, sum.rows(), sum.cols())?;
    device.map(Unary::Sqrt, sum, 1.0, 0.0, &mut norms)?;
    Ok(norms)
}
