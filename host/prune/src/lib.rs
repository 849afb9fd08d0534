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
//! share an input ([`Order::TrueSequential`]). Without propagation there is one dense pass, which any number of
//! ways to prune can share: see `dense`.
//!
//! A run may have several stages, each of which finds what the one before left of a block. A stage works on layers (`layer`)
//! or on blocks (`block`); one that decides for the whole model does so before the first block (`decide`).

mod block;
mod card;
pub mod check;
mod decide;
mod dense;
mod error;
pub mod inspect;
mod journal;
mod layer;
mod manifest;
mod memory;
mod method;
mod origin;
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
pub use run::{IfUnfinished, Output, Run, Settings};
pub use targets::{BlockRanges, LayerRule, ParseLayerRuleError, Targets, TargetsError};

use block::{BlockView, LayerStates};
use espalier_base::profile;
use espalier_model::{
    Block, CheckpointWriter, HiddenStates, Llama, LlamaConfig,
    layout::{LayerInput, Projection},
};
use espalier_plugins::DeviceTensors;
use espalier_sdk::{Order, Scope, Sparsity, Statistic};
use layer::{LayerPlace, LayerState};
use resume::Keeper;
use statistics::Gatherer;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
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

/// The plan for a model.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The stages that prune, block by block.
    pub stages: &'a [Stage],
    /// Which layers are pruned, and how much of each.
    pub targets: &'a Targets,
    /// Whether a block's statistics are taken behind predecessors that are already pruned.
    pub propagate: bool,
    /// The seed of the stages' draws.
    pub seed: u64,
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
    /// A stage has decided for the whole model.
    Decided {
        /// The stage.
        stage: &'a str,
        /// What is decided so far.
        decision: &'a Decision,
    },
}

impl PruneEvent<'_> {
    /// A layer's own work counts as much as some tokens, so that a bar moves while layers are pruned.
    const LAYER: usize = 512;

    /// How much work was done, of [`Run::expected_work`].
    pub fn work(&self) -> usize {
        match self {
            Self::Planned(_) | Self::Continued { .. } | Self::Decided { .. } => 0,
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
    windows: &[&[u32]],
    keep_hidden: bool,
    removed: &BTreeSet<usize>,
    on_event: &mut dyn FnMut(PruneEvent),
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
    let pass = Pass {
        blocks: start..end,
        ahead: memory.loads_ahead,
        tensors: &tensors,
        keeper: Keeper::new(keep_hidden, memory.hidden_bytes, jobs),
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
    /// Blocks that are left out.
    removed: &'a BTreeSet<usize>,
}

/// Every block is worked on and run for itself: behind predecessors that are already pruned, if what is pruned propagates.
fn walk(
    model: &Llama,
    job: &mut Job,
    mut hidden: HiddenStates,
    mut pass: Pass,
    on_event: &mut dyn FnMut(PruneEvent),
) -> Result<()> {
    let end = pass.blocks.end;
    model.each_block(pass.blocks, pass.ahead, |index, block| {
        weights::check_block(model, index)?;
        if pass.removed.contains(&index) {
            return job.finish_block(index);
        }
        let Job { plan, output, progress } = &mut *job;
        let on_event_too = std::cell::RefCell::new(&mut *on_event);
        let mut finish = |block: &mut Block, state: LayerState, zero_features| {
            let linear = block.linear_mut(state.at.projection);
            let (weight, report) = state.finish(model, output, linear.weight.dtype(), zero_features)?;
            linear.weight = weight;
            on_event_too.borrow_mut()(PruneEvent::Layer(&report));
            progress.layers.push(report);
            Ok(())
        };
        let mut measuring = |tokens| on_event_too.borrow_mut()(PruneEvent::Tokens(tokens));
        prune_block(model, plan, (index, block), &hidden, pass.tensors, &mut measuring, &mut finish)?;
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

/// Has every stage work on a block, measured behind what is already pruned. `progress` is told of tokens that were measured;
/// `finish` takes each layer when the last stage is done with it, with the features that no token ever used.
fn prune_block(
    model: &Llama,
    plan: &Plan,
    (index, block): (usize, &mut Block),
    hidden: &HiddenStates,
    tensors: &Arc<DeviceTensors>,
    progress: &mut dyn FnMut(usize),
    finish: &mut dyn FnMut(&mut Block, LayerState, usize) -> Result<()>,
) -> Result<()> {
    let device = &*model.device;
    let targets = plan.layers(index);
    let segments = plan.segments();
    let more = plan.stages.len() > 1 || matches!(segments.as_slice(), [Segment::Block(_)]);
    let mut states = LayerStates::new();
    let open = |block: &Block, &(projection, sparsity): &(Projection, Sparsity)| {
        let at = LayerPlace { block: index, projection, sparsity };
        LayerState::open(device, block.linear(projection), at, more)
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
                block::run(view, *stage, plan.seed)?;
                continue;
            }
        };
        for group in plan.groups(stages, index) {
            let needed = method::needed(stages.iter().map(|(_, stage)| *stage));
            let gatherer = Gatherer::new(device, &needed, &group.inputs, hidden.tokens());
            let passing = profile::stage(|| format!("measure block {index}"));
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
                    finish(block, state, dead)?;
                } else {
                    let linear = block.linear_mut(projection);
                    linear.weight = state.rounded(device, linear.weight.dtype())?;
                    states.insert(projection, state);
                }
                // On the CPU the old one was the file itself, mapped.
                model.checkpoint.release(&projection.weight(index));
                statistics::keep_for(&mut measured, &group.layers[place + 1..]);
            }
        }
    }
    // What is still here was last worked on as a block.
    states.into_values().try_for_each(|state| finish(block, state, 0))
}

/// Stages that work on a block one after the other.
enum Segment<'a> {
    /// Layer by layer, all of them on each.
    Layers(Vec<(usize, &'a Stage)>),
    /// One on the whole block.
    Block((usize, &'a Stage)),
}

/// Layers whose statistics are taken together.
struct Group {
    inputs: Vec<LayerInput>,
    layers: Vec<(Projection, Sparsity)>,
}

impl<'a> Plan<'a> {
    /// Whether calibration windows are needed.
    fn measures(&self) -> bool {
        self.stages.iter().any(|stage| stage.info.scope != Scope::Layer || !stage.info.statistics.is_empty())
    }

    /// Whether a stage works on whole blocks.
    fn has_blocks(&self) -> bool {
        self.stages.iter().any(|stage| stage.info.scope == Scope::Block)
    }

    /// When statistics are taken.
    fn order(&self) -> Order {
        let sequential = self.stages.iter().any(|stage| stage.order == Order::TrueSequential);
        if sequential { Order::TrueSequential } else { Order::Block }
    }

    /// The stages, those on layers that follow each other together.
    fn segments(&self) -> Vec<Segment<'a>> {
        let mut segments = Vec::new();
        for (number, stage) in self.stages.iter().enumerate() {
            match (stage.info.scope, segments.last_mut()) {
                (Scope::Layer, Some(Segment::Layers(stages))) => stages.push((number, stage)),
                (Scope::Layer, _) => segments.push(Segment::Layers(vec![(number, stage)])),
                _ => segments.push(Segment::Block((number, stage))),
            }
        }
        segments
    }

    /// Which layers of a block are pruned, and how much of each.
    fn layers(&self, block: usize) -> Vec<(Projection, Sparsity)> {
        if self.stages.is_empty() {
            return Vec::new();
        }
        let wanted = |projection| Some((projection, self.targets.of(block, projection)?));
        Projection::ALL.into_iter().filter_map(wanted).collect()
    }

    /// Behind the last of these blocks in which something is pruned.
    fn end(&self, blocks: usize) -> usize {
        (0..blocks).rev().find(|&block| !self.layers(block).is_empty()).map_or(0, |last| last + 1)
    }

    /// The layers of a block, in order, in groups that are measured together behind pruned predecessors.
    fn groups(&self, stages: &[(usize, &Stage)], block: usize) -> Vec<Group> {
        let layers = self.layers(block);
        if layers.is_empty() {
            return Vec::new();
        }
        let mut by_input: BTreeMap<LayerInput, Vec<_>> = BTreeMap::new();
        for layer in &layers {
            by_input.entry(layer.0.input()).or_default().push(*layer);
        }
        if stages.iter().any(|(_, stage)| stage.order == Order::TrueSequential) {
            by_input.into_iter().map(|(input, layers)| Group { inputs: vec![input], layers }).collect()
        } else {
            vec![Group { inputs: by_input.into_keys().collect(), layers }]
        }
    }

    /// How often all windows go through a block.
    fn passes(&self, block: usize) -> usize {
        let passes = |segment: &Segment| match segment {
            Segment::Layers(stages) => self.groups(stages, block).len(),
            Segment::Block(_) => 1,
        };
        self.segments().iter().map(passes).sum()
    }
}

/// Every statistic that one of these plans needs.
fn needed<'a>(plans: impl IntoIterator<Item = &'a Plan<'a>>) -> Vec<Statistic> {
    method::needed(plans.into_iter().flat_map(|plan| plan.stages))
}

/// How much work plans that run together will be, for a progress bar.
fn expected_work(plans: &[Plan], blocks: usize, windows: &[&[u32]]) -> usize {
    let layers: usize = plans.iter().flat_map(|plan| (0..blocks).map(|block| plan.layers(block).len())).sum();
    let tokens: usize = windows.iter().map(|window| window.len()).sum();
    let passes = match plans {
        plans if !plans.iter().any(Plan::measures) => 0,
        [plan] if plan.propagate => {
            let end = plan.end(blocks);
            (0..end).map(|block| plan.passes(block)).sum::<usize>() + end.saturating_sub(1)
        }
        plans => plans.iter().map(|plan| plan.end(blocks)).max().unwrap_or(0),
    };
    passes * tokens + layers * PruneEvent::LAYER
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
