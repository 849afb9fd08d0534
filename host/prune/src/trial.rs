//! The loss of a model that is pruned to targets that are only tried. Nothing is written, and only what differs from the
//! trial before is done again.

use super::{MemoryPlan, Plan, PruneError, Result, Sparsity, weights};
use espalier_device::{DType, Op, Tensor};
use espalier_model::{Batch, Head, HiddenStates, Llama, ModelError, Placement, layout::Projection};
use espalier_plugins::DeviceTensors;
use std::{collections::BTreeSet, sync::Arc};

/// Tokens whose logits are in memory at a time.
const LOGIT_TOKENS: usize = 512;

/// The targets of a block's layers.
type LayerTargets = Vec<(Projection, Sparsity)>;

/// The last trial.
#[derive(Default)]
pub(super) struct Trials {
    windows: usize,
    /// The hidden states that enter each block, in the host's memory, with the targets of that block.
    entering: Vec<(HiddenStates, LayerTargets)>,
    removed: BTreeSet<usize>,
}

impl Trials {
    /// The mean cross-entropy per token.
    pub(super) fn loss(
        &mut self,
        model: &Llama,
        plan: &Plan,
        removed: &BTreeSet<usize>,
        memory: &MemoryPlan,
        windows: &[&[u32]],
    ) -> Result<f64> {
        if self.windows != windows.len() || self.removed != *removed {
            *self = Self { windows: windows.len(), entering: Vec::new(), removed: removed.clone() };
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
            let entering = hidden.duplicate(model)?;
            if !removed.contains(&index) {
                weights::check_block(model, index)?;
                super::prune_block(
                    model,
                    plan,
                    (index, block),
                    &hidden,
                    &tensors,
                    &mut |_| {},
                    &mut |block, state, _| {
                        let linear = block.linear_mut(state.at.projection);
                        linear.weight = state.rounded(&*model.device, linear.weight.dtype())?;
                        Ok(None)
                    },
                )?;
                hidden.advance(model, block, |_| {})?;
            }
            self.entering.push((entering, plan.layers(index)));
            Ok::<_, PruneError>(())
        })?;
        cross_entropy(model, &hidden)
    }
}

/// The mean over all tokens but each sequence's first.
fn cross_entropy(model: &Llama, hidden: &HiddenStates) -> Result<f64> {
    let head = model.load_head()?;
    let (mut sum, mut tokens) = (0.0, 0);
    hidden.visit(model, |batch, states| {
        for start in (0..states.rows()).step_by(LOGIT_TOKENS) {
            let end = (start + LOGIT_TOKENS).min(states.rows());
            let (loss, counted) = part(model, &head, batch, states, start..end)?;
            sum += loss;
            tokens += counted;
        }
        Ok::<_, PruneError>(())
    })?;
    Ok(sum / f64::from(tokens.max(1)))
}

/// The sum over these tokens, and how many count.
fn part(
    model: &Llama,
    head: &Head,
    batch: &Batch,
    states: &Tensor,
    rows: std::ops::Range<usize>,
) -> Result<(f64, u32), ModelError> {
    let device = &*model.device;
    let mut hidden = device.zeros(DType::F32, rows.len(), states.cols())?;
    device.execute(Op::CopyRows { x: states, start: rows.start }, &mut hidden)?;
    let logits = model.logits(head, &hidden)?;
    // The last token of a sequence predicts nothing: its loss, of any target, does not count.
    let counts = |row: &usize| batch.spans.iter().all(|span| span.query_start + span.queries != row + 1);
    let target = |row: usize| batch.tokens.get(row + 1).copied().unwrap_or(0);
    let targets: Vec<u32> = rows.clone().map(target).collect();
    let mut losses = device.zeros(DType::F32, rows.len(), 1)?;
    let targets = device.from_u32(&targets)?;
    device.execute(Op::CrossEntropy { logits: &logits, targets: &targets }, &mut losses)?;
    let losses = device.to_f32(&losses)?;
    let counted: Vec<f64> =
        rows.zip(losses).filter(|(row, _)| counts(row)).map(|(_, loss)| f64::from(loss)).collect();
    Ok((counted.iter().sum(), counted.len() as u32))
}
