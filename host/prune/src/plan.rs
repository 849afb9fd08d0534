//! The plan of a run: its stages in the order in which they work on a block, and what each block takes.

use super::{PruneEvent, Stage, Targets};
use espalier_model::{
    Window,
    layout::{LayerInput, Projection},
};
use espalier_sdk::{Order, Scope, Sparsity, Statistic};
use std::collections::BTreeMap;

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

/// Stages that work on a block one after the other.
pub(super) enum Segment<'a> {
    /// Layer by layer, all of them on each.
    Layers(Vec<(usize, &'a Stage)>),
    /// One on the whole block.
    Block((usize, &'a Stage)),
}

/// Layers whose statistics are taken together.
pub(super) struct Group {
    pub(super) inputs: Vec<LayerInput>,
    pub(super) layers: Vec<(Projection, Sparsity)>,
}

impl<'a> Plan<'a> {
    /// Whether calibration windows are needed.
    pub(super) fn measures(&self) -> bool {
        self.stages.iter().any(|stage| stage.info.scope != Scope::Layer || !stage.info.statistics.is_empty())
    }

    /// Whether a stage works on whole blocks.
    pub(super) fn has_blocks(&self) -> bool {
        self.stages.iter().any(|stage| stage.info.scope == Scope::Block)
    }

    /// Whether the gradients of the model's loss are taken.
    pub(super) fn takes_gradients(&self) -> bool {
        self.stages.iter().any(|stage| {
            let info = &stage.info;
            info.statistics.contains(&Statistic::GradientSquares)
                || info.requires.iter().any(|name| name == "gradients")
        })
    }

    /// When statistics are taken.
    pub(super) fn order(&self) -> Order {
        let sequential = self.stages.iter().any(|stage| stage.order == Order::TrueSequential);
        if sequential { Order::TrueSequential } else { Order::Block }
    }

    /// The stages, those on layers that follow each other together.
    pub(super) fn segments(&self) -> Vec<Segment<'a>> {
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
    pub(super) fn layers(&self, block: usize) -> Vec<(Projection, Sparsity)> {
        if self.stages.is_empty() {
            return Vec::new();
        }
        let wanted = |projection| Some((projection, self.targets.of(block, projection)?));
        Projection::ALL.into_iter().filter_map(wanted).collect()
    }

    /// Behind the last of these blocks in which something is pruned.
    pub(super) fn end(&self, blocks: usize) -> usize {
        (0..blocks).rev().find(|&block| !self.layers(block).is_empty()).map_or(0, |last| last + 1)
    }

    /// The layers of a block, in order, in groups that are measured together behind pruned predecessors.
    pub(super) fn groups(&self, stages: &[(usize, &Stage)], block: usize) -> Vec<Group> {
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
    pub(super) fn passes(&self, block: usize) -> usize {
        let passes = |segment: &Segment| match segment {
            Segment::Layers(stages) => self.groups(stages, block).len(),
            Segment::Block(_) => 1,
        };
        self.segments().iter().map(passes).sum()
    }
}

/// Every statistic that one of these plans needs.
pub(super) fn needed<'a>(plans: impl IntoIterator<Item = &'a Plan<'a>>) -> Vec<Statistic> {
    super::method::needed(plans.into_iter().flat_map(|plan| plan.stages))
}

/// How much work plans that run together will be, for a progress bar.
pub(super) fn expected_work(plans: &[Plan], blocks: usize, windows: &[Window]) -> usize {
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
