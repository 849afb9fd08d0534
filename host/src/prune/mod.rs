//! Pruning, block by block.
//!
//! ```text
//! for each block:
//!     load its weights
//!     run all windows through it, dense     → statistics of each linear layer's input
//!     for each linear layer: method.prune(weight, statistics, target) → written to the output
//!     run all windows through it, pruned    → hidden states for the next block
//! ```

mod error;
mod layer;
mod manifest;
mod statistics;

pub use error::{PruneError, Result};
pub use layer::LayerReport;
pub use manifest::{CalibrationRecord, Manifest, PluginRecord};
pub use statistics::Measured;

use crate::{
    interrupt,
    model::{CheckpointWriter, HiddenStates, Llama, Projection},
    plugins::DeviceTensors,
};
use espalier_sdk::{MethodInfo, Sparsity, abi::LoadedMethod};
use std::sync::Arc;

/// What to do to a model.
pub struct Plan<'a> {
    /// The method.
    pub method: &'a LoadedMethod,
    /// What it says of itself; above all the statistics it needs.
    pub info: &'a MethodInfo,
    /// How much of every layer goes.
    pub sparsity: Sparsity,
    /// Tokens that run through a block at a time, about.
    pub batch_tokens: usize,
}

/// What happens during a run, for progress bars and logs.
#[derive(Debug)]
pub enum Event<'a> {
    /// This many tokens have gone through a block once.
    Tokens(usize),
    /// A layer is done.
    Layer(&'a LayerReport),
}

/// Prunes a model with calibration windows into `output`.
///
/// # Errors
/// See [`PruneError`]; the layer is named.
pub fn prune(
    model: &Llama,
    plan: &Plan,
    windows: &[&[u32]],
    output: &mut CheckpointWriter,
    on_event: &mut dyn FnMut(Event),
) -> Result<Vec<LayerReport>> {
    check_shapes(model, plan.sparsity)?;
    let tensors = Arc::new(DeviceTensors::new(Arc::clone(&model.device)));
    let blocks = model.config.num_hidden_layers;
    let mut hidden = HiddenStates::embed(model, windows, plan.batch_tokens)?;
    let mut reports = Vec::with_capacity(blocks * Projection::ALL.len());

    for index in 0..blocks {
        let mut block = model.load_block(index)?;
        let measured = statistics::measure(model, &block, &hidden, &plan.info.statistics, &mut |tokens| {
            on_event(Event::Tokens(tokens));
        })?;
        for projection in Projection::ALL {
            interrupt::check()?;
            let linear = block.linear_mut(projection);
            let report = layer::prune(model, plan, &tensors, (index, projection), linear, &measured, output)?;
            on_event(Event::Layer(&report));
            reports.push(report);
        }
        // Nothing follows the last block, so its pruned output is of no use.
        if index + 1 < blocks {
            hidden.advance(model, &block, |tokens| on_event(Event::Tokens(tokens)))?;
        }
        drop(block);
        model.checkpoint.release_block(index);
    }
    Ok(reports)
}

/// Tokens that a run will push through blocks, for a progress bar.
pub fn expected_tokens(model: &Llama, plan: &Plan, windows: &[&[u32]]) -> usize {
    let tokens: usize = windows.iter().map(|window| window.len()).sum();
    let blocks = model.config.num_hidden_layers;
    let measuring = if plan.info.statistics.is_empty() { 0 } else { blocks };
    tokens * (measuring + blocks.saturating_sub(1))
}

/// Refuses a pattern whose groups do not divide a layer's columns, before anything runs.
fn check_shapes(model: &Llama, sparsity: Sparsity) -> Result<()> {
    let Sparsity::Pattern { m, .. } = sparsity else { return Ok(()) };
    for projection in Projection::ALL {
        let (_, cols) = projection.shape(&model.config);
        if !cols.is_multiple_of(m) {
            return Err(PruneError::Pattern { layer: projection.path(), cols, sparsity });
        }
    }
    Ok(())
}
