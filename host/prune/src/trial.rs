//! The loss of a model that is pruned to targets that are only tried. Nothing is written, and only what differs from the
//! trial before is done again.

use super::{
    BlockInputs, LayerRule, MemoryPlan, Plan, PruneError, Result, Sparsity, gradients::GradientSquares,
    weights,
};
use espalier_model::{HiddenStates, Llama, Placement, Window, layout::Projection};
use espalier_plugins::DeviceTensors;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The targets of a block's layers.
type LayerTargets = Vec<(Projection, Sparsity)>;

/// The last trial.
#[derive(Default)]
pub(super) struct Trials {
    windows: usize,
    /// The hidden states that enter each block, in the host's memory, with the targets of that block.
    entering: Vec<(HiddenStates, LayerTargets)>,
    removed: BTreeSet<usize>,
    row_counts: BTreeMap<LayerRule, Vec<usize>>,
    squares: Option<GradientSquares>,
}

impl Trials {
    /// The mean cross-entropy per token.
    pub(super) fn loss(
        &mut self,
        model: &Llama,
        plan: &Plan,
        removed: &BTreeSet<usize>,
        memory: &MemoryPlan,
        windows: &[Window],
    ) -> Result<f64> {
        let row_counts = &plan.targets.row_counts;
        if self.windows != windows.len() || self.removed != *removed || self.row_counts != *row_counts {
            let squares = GradientSquares::needed(model, &[*plan], windows, memory, removed)?;
            let (windows, removed, row_counts) = (windows.len(), removed.clone(), row_counts.clone());
            *self = Self { windows, entering: Vec::new(), removed, row_counts, squares };
        }
        let tensors = Arc::new(DeviceTensors::new(Arc::clone(&model.device)));
        let entering = self.entering.iter().enumerate();
        let first = entering.take_while(|(block, (_, layers))| plan.layers(*block) == *layers).count();
        // The states that enter the first block that differs are right.
        self.entering.truncate(first + 1);
        let mut hidden = match self.entering.pop() {
            Some((hidden, _)) => hidden,
            None => HiddenStates::embed(model, windows, memory.batch_tokens, &Placement::Host)?,
        };
        model.each_block(self.entering.len()..model.config.num_hidden_layers, false, |index, block| {
            let entering = hidden.duplicate(model, &Placement::Host)?;
            if !removed.contains(&index) {
                weights::check_block(model, index)?;
                super::prune_block(
                    model,
                    plan,
                    (index, block),
                    &BlockInputs { hidden: &hidden, squares: self.squares.as_ref(), tensors: &tensors },
                    &mut |_| {},
                    &mut |block, state, _| {
                        let linear = block.linear_mut(state.at.projection);
                        linear.weight = state.in_model(&*model.device, linear.weight.dtype())?;
                        Ok(None)
                    },
                )?;
                hidden.advance(model, block, |_| {})?;
            }
            self.entering.push((entering, plan.layers(index)));
            Ok::<_, PruneError>(())
        })?;
        Ok(model.mean_loss(&hidden)?)
    }
}
