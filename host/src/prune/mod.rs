//! Pruning, block by block.
//!
//! ```text
//! for each block:
//!     load its weights
//!     run all windows through it, dense     → statistics of each linear layer's input
//!     for each linear layer: method.prune(weight, statistics, target) → written to the output
//!     run all windows through it, pruned    → hidden states for the next block
//! ```
//!
//! A method may ask for statistics to be taken again within a block, before each group of layers that
//! share an input ([`Order::TrueSequential`]); without propagation the dense pass is also what the next
//! block sees, so there is one pass a block.

mod card;
mod error;
mod layer;
mod manifest;
mod memory;
mod method;
mod run;
mod statistics;
mod targets;

pub use card::model_card;
pub use error::{PruneError, Result};
pub use layer::LayerReport;
pub use manifest::{Manifest, MemoryRecord};
pub use memory::{MemoryBudget, MemoryPlan, ParseSizeError, Size};
pub use method::Method;
pub use run::{Run, Settings};
pub use targets::{BlockRanges, Targets, TargetsError};

use crate::{
    interrupt,
    model::{
        CheckpointWriter, HiddenStates, Llama, LlamaConfig,
        layout::{LayerInput, Projection},
    },
    plugins::DeviceTensors,
    profile,
};
use espalier_sdk::{MethodInfo, Order, Sparsity, abi::LoadedMethod};
use statistics::Gatherer;
use std::{collections::BTreeMap, sync::Arc};

/// What to do to a model.
pub struct Plan<'a> {
    /// The method.
    pub method: &'a LoadedMethod,
    /// What it says of itself; above all the statistics it needs.
    pub info: &'a MethodInfo,
    /// When it wants statistics to be taken.
    pub order: Order,
    /// Which layers are pruned, and how much of each.
    pub targets: &'a Targets,
    /// Whether a block's statistics are taken behind predecessors that are already pruned.
    pub propagate: bool,
}

/// What happens during a run, for progress bars and logs.
#[derive(Debug)]
pub enum Event<'a> {
    /// What the run is about to keep where; again, where it starts over with smaller batches.
    Planned(&'a MemoryPlan),
    /// This many tokens have gone through a block once.
    Tokens(usize),
    /// A layer is done.
    Layer(&'a LayerReport),
}

impl Event<'_> {
    /// A layer's own work counts as much as some tokens, so that a bar moves while layers are pruned.
    const LAYER: usize = 512;

    /// How much work was done, of [`Plan::expected_work`].
    pub fn work(&self) -> usize {
        match self {
            Self::Planned(_) => 0,
            Self::Tokens(tokens) => *tokens,
            Self::Layer(_) => Self::LAYER,
        }
    }
}

/// Prunes a model with calibration windows into `output`. A method that needs no statistics needs no
/// windows.
///
/// # Errors
/// See [`PruneError`]; the layer is named.
pub fn prune(
    model: &Llama,
    plan: &Plan,
    memory: &MemoryPlan,
    windows: &[&[u32]],
    output: &mut CheckpointWriter,
    on_event: &mut dyn FnMut(Event),
) -> Result<Vec<LayerReport>> {
    check(&model.config, plan.targets)?;
    let tensors = Arc::new(DeviceTensors::new(Arc::clone(&model.device)));
    let windows = if plan.info.statistics.is_empty() { &[] } else { windows };
    let mut hidden = HiddenStates::embed(model, windows, memory.batch_tokens, &memory.hidden_states)?;
    let last = (0..model.config.num_hidden_layers).rev().find(|&index| plan.prunes(index));
    let mut reports = Vec::new();

    // Nothing after the last pruned block matters.
    for index in 0..=last.unwrap_or(0) {
        let _block = profile::stage(|| format!("block {index}"));
        let mut block = model.load_block(index)?;
        for stage in plan.stages(index) {
            let progress = &mut |tokens| on_event(Event::Tokens(tokens));
            let gatherer =
                Gatherer::new(&*model.device, &plan.info.statistics, &stage.inputs, hidden.tokens());
            let passing = profile::stage(|| format!("measure block {index}"));
            let measured = if plan.propagate {
                statistics::measure(model, (index, &block), &hidden, gatherer, progress)?
            } else {
                statistics::measure_and_advance(model, (index, &block), &mut hidden, gatherer, progress)?
            };
            drop(passing);
            for &(projection, sparsity) in &stage.layers {
                interrupt::check()?;
                let _layer = profile::stage(|| projection.weight(index));
                let linear = block.linear_mut(projection);
                let at = layer::Place { block: index, projection, sparsity };
                let report = layer::prune(model, plan.method, &tensors, at, linear, &measured, output)?;
                on_event(Event::Layer(&report));
                reports.push(report);
            }
        }
        if plan.propagate && Some(index) != last {
            let _pass = profile::stage(|| format!("advance through block {index}"));
            hidden.advance(model, &block, |tokens| on_event(Event::Tokens(tokens)))?;
        }
        drop(block);
        model.release_block(index);
    }
    Ok(reports)
}

/// Layers whose statistics are taken together.
struct Stage {
    inputs: Vec<LayerInput>,
    layers: Vec<(Projection, Sparsity)>,
}

impl Plan<'_> {
    fn prunes(&self, block: usize) -> bool {
        Projection::ALL.into_iter().any(|projection| self.targets.of(block, projection).is_some())
    }

    /// What is measured and pruned of a block, in order. Without propagation a stage is always the whole block,
    /// because every pass is dense.
    fn stages(&self, block: usize) -> Vec<Stage> {
        let wanted = |projection| Some((projection, self.targets.of(block, projection)?));
        let layers: Vec<_> = Projection::ALL.into_iter().filter_map(wanted).collect();
        let mut by_input: BTreeMap<LayerInput, Vec<_>> = BTreeMap::new();
        for layer in &layers {
            by_input.entry(layer.0.input()).or_default().push(*layer);
        }
        if self.order == Order::TrueSequential && self.propagate {
            return by_input
                .into_iter()
                .map(|(input, layers)| Stage { inputs: vec![input], layers })
                .collect();
        }
        if layers.is_empty() && self.propagate {
            return Vec::new();
        }
        vec![Stage { inputs: by_input.into_keys().collect(), layers }]
    }

    /// How much work a run will be, for a progress bar.
    pub fn expected_work(&self, blocks: usize, windows: &[&[u32]]) -> usize {
        let layers: usize =
            (0..blocks).flat_map(|block| self.stages(block)).map(|stage| stage.layers.len()).sum();
        self.expected_tokens(blocks, windows) + layers * Event::LAYER
    }

    /// Tokens that a run will push through blocks.
    fn expected_tokens(&self, blocks: usize, windows: &[&[u32]]) -> usize {
        if self.info.statistics.is_empty() {
            return 0;
        }
        let tokens: usize = windows.iter().map(|window| window.len()).sum();
        let Some(last) = (0..blocks).rev().find(|&index| self.prunes(index)) else { return 0 };
        let measuring: usize = (0..=last).map(|index| self.stages(index).len()).sum();
        tokens * (measuring + if self.propagate { last } else { 0 })
    }
}

/// Refuses targets that do not fit the model, before anything runs.
///
/// # Errors
/// A block that it does not have, or a pattern that does not divide a layer's columns.
pub fn check(config: &LlamaConfig, targets: &Targets) -> Result<()> {
    targets.check(config.num_hidden_layers)?;
    for block in 0..config.num_hidden_layers {
        for projection in Projection::ALL {
            let Some(sparsity @ Sparsity::Pattern { m, .. }) = targets.of(block, projection) else {
                continue;
            };
            let (_, cols) = projection.shape(config);
            if !cols.is_multiple_of(m) {
                return Err(PruneError::Pattern { layer: projection.weight(block), cols, sparsity });
            }
        }
    }
    Ok(())
}
