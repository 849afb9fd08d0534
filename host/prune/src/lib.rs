//! Pruning, block by block.
//!
//! ```text
//! for each block:
//!     load its weights, while the block before is worked on if both fit
//!     run all windows through it, dense     → statistics of each linear layer's input
//!     for each linear layer: method.layer(weight, statistics, target) → written to the output
//!     the block is durable, and listed in the journal
//!     run all windows through it, pruned    → hidden states for the next block
//! ```
//!
//! A run that ended early continues behind the last block of its journal: see `journal` and `resume`.
//!
//! A method may ask for statistics to be taken again within a block, before each group of layers that
//! share an input ([`TrueSequential`](espalier_sdk::Order::TrueSequential)). Without propagation there is one dense
//! pass, which any number of ways to prune can share: see `dense`.
//!
//! A run may have several stages, each of which finds what the one before left of a block. A stage works on layers (`layer`)
//! or on blocks (`block`); one that decides for the whole model does so before the first block (`decide`).

mod answer;
mod block;
mod card;
pub mod check;
mod counted;
mod decide;
mod dense;
mod error;
mod gradients;
pub mod inspect;
mod journal;
mod layer;
mod manifest;
mod memory;
mod method;
mod origin;
mod plan;
mod resume;
mod run;
mod services;
mod statistics;
mod targets;
mod trial;
pub mod verify;
pub(crate) mod weights;

pub use card::model_card;
pub use decide::Decision;
pub use error::{PruneError, Result};
pub use journal::{Fingerprint, Progress, finished, finished_blocks};
pub use layer::LayerReport;
pub use manifest::{Manifest, MemoryRecord};
pub use memory::{BudgetBy, MemoryBudget, MemoryPlan, ParseSizeError, Size};
pub use method::{Method, Stage};
pub use origin::Origin;
pub use plan::Plan;
pub use run::{IfUnfinished, Output, Run, Settings};
pub use targets::{BlockRanges, LayerRule, ParseLayerRuleError, Targets, TargetsError};

use block::{BlockView, LayerStates};
use espalier_base::profile;
use espalier_model::{Block, CheckpointWriter, HiddenStates, Llama, LlamaConfig, Window, layout::Projection};
use espalier_plugins::DeviceTensors;
use espalier_sdk::Sparsity;
use gradients::GradientSquares;
use layer::{LayerPlace, LayerState};
use plan::{Segment, expected_work, needed};
use resume::Keeper;
use statistics::Gatherer;
use std::{
    collections::{BTreeSet, btree_map::Entry},
    ops::Range,
    slice,
    sync::Arc,
};

/// A way to prune a model, and where the result goes.
#[derive(Debug)]
pub struct Job<'a, 'w> {
    /// The plan.
    pub plan: Plan<'w>,
    /// Where to write it.
    pub output: &'w mut CheckpointWriter<'a>,
    /// How far it is.
    pub progress: &'w mut Progress,
}

impl Job<'_, '_> {
    /// Makes a finished block durable.
    fn finish_block(&mut self, index: usize) -> Result<()> {
        let line = self.progress.finish_block(index)?;
        Ok(self.output.mark(line)?)
    }
}

/// Events of a run, for progress bars and logs.
#[derive(Debug)]
pub enum PruneEvent<'a> {
    /// The memory plan; again, where it starts over with smaller batches.
    Planned(&'a MemoryPlan),
    /// This many tokens have gone through a block once.
    Tokens(usize),
    /// So many blocks were finished by an earlier run, or before a fault, and are not pruned again.
    Continued {
        /// These blocks.
        blocks: usize,
        /// The model's blocks.
        of: usize,
    },
    /// A layer is done.
    Layer(&'a LayerReport),
    /// Progress of a stage that works on a block or on the model.
    Stage {
        /// The stage.
        stage: &'a str,
        /// Steps done.
        done: usize,
        /// All steps.
        of: usize,
    },
    /// A stage has decided for the whole model.
    Decided {
        /// The stage.
        stage: &'a str,
        /// What is decided so far.
        decision: &'a Decision,
        /// What is left out of the model so far, in words.
        left_out: Option<&'a str>,
    },
}

impl PruneEvent<'_> {
    /// A layer's own work counts as much as some tokens, so that a bar moves while layers are pruned.
    const LAYER: usize = 512;

    /// How much work was done, of [`Run::expected_work`].
    pub fn work(&self) -> usize {
        match self {
            Self::Planned(_) | Self::Continued { .. } | Self::Stage { .. } | Self::Decided { .. } => 0,
            Self::Tokens(tokens) => *tokens,
            Self::Layer(_) => Self::LAYER,
        }
    }
}

/// Prunes a model with calibration windows, in one way or, without propagation, in several. A method that needs
/// no statistics needs no windows. `removed` blocks are passed over.
///
/// # Errors
/// See [`PruneError`]; the layer is named.
pub fn prune(
    model: &Llama,
    jobs: &mut [Job],
    memory: &MemoryPlan,
    windows: &[Window],
    keep_hidden: bool,
    removed: &BTreeSet<usize>,
    on_event: &mut (dyn FnMut(PruneEvent) + Send),
) -> Result<()> {
    for job in &*jobs {
        check(&model.config, job.plan.targets)?;
    }
    let tensors = Arc::new(DeviceTensors::new(Arc::clone(&model.device)));
    let measures = jobs.iter().any(|job| job.plan.measures());
    let windows = if measures { windows } else { &[] };
    let of = model.config.num_hidden_layers;
    // Nothing after the last pruned block matters.
    let end = jobs.iter().map(|job| job.plan.end(of)).max().unwrap_or(0);
    let start = jobs.iter().map(|job| job.progress.blocks).min().unwrap_or(0);
    if start > 0 {
        on_event(PruneEvent::Continued { blocks: start, of });
    }
    if start >= end {
        return Ok(());
    }
    if !windows.is_empty() {
        weights::check_embedding(model)?;
    }
    let progress = &mut |tokens| on_event(PruneEvent::Tokens(tokens));
    let hidden = resume::hidden_states(model, jobs, start, memory, windows, removed, progress)?;
    let plans: Vec<_> = jobs.iter().map(|job| job.plan).collect();
    let pass = Pass {
        blocks: start..end,
        ahead: memory.loads_ahead,
        tensors: &tensors,
        keeper: Keeper::new(keep_hidden, memory.hidden_bytes, jobs),
        squares: GradientSquares::needed(model, &plans, windows, memory, removed)?,
        removed,
    };
    match jobs {
        [job] if job.plan.propagate || job.plan.has_blocks() || !removed.is_empty() => {
            walk(model, job, hidden, pass, on_event)
        }
        jobs => dense::prune(model, jobs, hidden, pass, on_event),
    }
}

/// A way through the blocks that are still to be pruned.
struct Pass<'a> {
    blocks: Range<usize>,
    /// Whether the next block is loaded while one is worked on.
    ahead: bool,
    tensors: &'a Arc<DeviceTensors>,
    keeper: Keeper,
    /// What the model's gradients were, where a stage asks for it.
    squares: Option<GradientSquares>,
    /// Blocks that are left out.
    removed: &'a BTreeSet<usize>,
}

/// Every block is worked on and run for itself: behind predecessors that are already pruned, if what is pruned propagates.
fn walk(
    model: &Llama,
    job: &mut Job,
    mut hidden: HiddenStates,
    mut pass: Pass,
    on_event: &mut (dyn FnMut(PruneEvent) + Send),
) -> Result<()> {
    let end = pass.blocks.end;
    model.each_block(pass.blocks, pass.ahead, |index, block| {
        weights::check_block(model, index)?;
        if pass.removed.contains(&index) {
            return job.finish_block(index);
        }
        let Job { plan, output, progress } = &mut *job;
        let mut finish = |block: &mut Block, state: LayerState, zero_features| {
            let linear = block.linear_mut(state.at.projection);
            let (weight, report) = state.finish(model, output, linear.weight.dtype(), zero_features)?;
            linear.weight = weight;
            progress.layers.push(report.clone());
            Ok(Some(report))
        };
        let inputs = BlockInputs { hidden: &hidden, squares: pass.squares.as_ref(), tensors: pass.tensors };
        prune_block(model, plan, (index, block), &inputs, on_event, &mut finish)?;
        job.finish_block(index)?;
        if index + 1 < end {
            if !job.plan.propagate {
                *block = model.load_block(index)?;
            }
            let advancing = profile::stage(|| format!("advance through block {index}"));
            let advanced = hidden.advance(model, block, |tokens| on_event(PruneEvent::Tokens(tokens)));
            advanced.map_err(|error| PruneError::from(error).in_block(index))?;
            drop(advancing);
            pass.keeper.keep(model, slice::from_mut(job), &hidden, index + 1)?;
        }
        Ok(())
    })
}

/// Takes a layer when the last stage is done with it, with the number of features that no token ever used, puts its weight
/// into the block, and reports it if that is of interest.
type Finish<'a> = dyn FnMut(&mut Block, LayerState, usize) -> Result<Option<LayerReport>> + 'a;

/// What is known of a block before it is pruned.
struct BlockInputs<'a> {
    /// The hidden states that enter it.
    hidden: &'a HiddenStates,
    squares: Option<&'a GradientSquares>,
    tensors: &'a Arc<DeviceTensors>,
}

/// Has every stage work on a block, measured behind what is already pruned.
fn prune_block(
    model: &Llama,
    plan: &Plan,
    (index, block): (usize, &mut Block),
    &BlockInputs { hidden, squares, tensors }: &BlockInputs,
    on_event: &mut (dyn FnMut(PruneEvent) + Send),
    finish: &mut Finish,
) -> Result<()> {
    let device = &*model.device;
    let targets = plan.layers(index);
    let segments = plan.segments();
    let more = plan.stages.len() > 1 || matches!(segments.as_slice(), [Segment::Block(_)]);
    let mut states = LayerStates::new();
    let open = |block: &Block, &(projection, sparsity): &(Projection, Sparsity)| {
        let at = LayerPlace::new(plan.targets, index, projection, sparsity);
        let state = LayerState::open(device, block.linear(projection), at, more)?;
        match squares {
            Some(squares) => Ok(state.with_gradients(squares.of(model, index, projection)?)),
            None => Ok::<_, PruneError>(state),
        }
    };
    for (number, segment) in (1..).zip(&segments) {
        let stages = match segment {
            Segment::Layers(stages) => stages,
            Segment::Block(stage) => {
                for target in &targets {
                    if let Entry::Vacant(entry) = states.entry(target.0) {
                        entry.insert(open(block, target)?);
                    }
                }
                let view =
                    BlockView { model, index, block, hidden, states: &mut states, tensors, can_set: true };
                block::run(view, *stage, plan.seed, on_event)?;
                continue;
            }
        };
        for group in plan.groups(stages, index) {
            let needed = method::needed(stages.iter().map(|(_, stage)| *stage));
            let gatherer = Gatherer::new(device, &needed, &group.inputs, hidden.counted());
            let passing = profile::stage(|| format!("measure block {index}"));
            let progress = &mut |tokens| on_event(PruneEvent::Tokens(tokens));
            let measured = statistics::measure(model, (index, block), hidden, gatherer, progress);
            let mut measured = measured.map_err(|error| error.in_block(index))?;
            drop(passing);
            for (place, target) in group.layers.iter().enumerate() {
                let projection = target.0;
                let mut state = match states.remove(&projection) {
                    Some(state) => state,
                    None => open(block, target)?,
                };
                let here = measured.get(&projection.input());
                layer::prune(model, stages, plan.seed, tensors, &mut state, here)?;
                if number == segments.len() {
                    let dead = here.map_or(0, |measured| measured.zero_features);
                    if let Some(report) = finish(block, state, dead)? {
                        on_event(PruneEvent::Layer(&report));
                    }
                } else {
                    let linear = block.linear_mut(projection);
                    linear.weight = state.in_model(device, linear.weight.dtype())?;
                    states.insert(projection, state);
                }
                // On the CPU the old one was the file itself, mapped.
                model.checkpoint.release(&projection.weight(index));
                statistics::keep_for(&mut measured, &group.layers[place + 1..]);
            }
        }
    }
    // What is still here was last worked on as a block.
    for state in states.into_values() {
        if let Some(report) = finish(block, state, 0)? {
            on_event(PruneEvent::Layer(&report));
        }
    }
    Ok(())
}

/// Refuses targets that do not fit the model, before anything runs.
///
/// # Errors
/// A block that it does not have, or a pattern that does not divide a layer's columns.
pub fn check(config: &LlamaConfig, targets: &Targets) -> Result<()> {
    targets.check(config.num_hidden_layers)?;
    for (rule, counts) in &targets.row_counts {
        let LayerRule::Layer(block, projection) = *rule else { continue };
        let (rows, cols) = projection.shape(config);
        if counts.len() != rows || counts.iter().any(|&count| count > cols) {
            return Err(PruneError::RowCounts { layer: projection.weight(block), rows, cols });
        }
    }
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
