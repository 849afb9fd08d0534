//! Pruning without propagation: one dense pass, which all ways to prune share.
//!
//! ```text
//! for each block:
//!     load its weights
//!     run all windows through it, dense     → statistics of each linear layer's input, hidden states for the next
//!     for each way to prune:
//!         for each linear layer: method.layer(weight, statistics, target) → written to its output
//! ```

use super::{
    Job, Pass, PruneError, PruneEvent, Result,
    layer::{self, LayerPlace, LayerState},
    needed,
    statistics::{self, Gatherer},
    weights,
};
use espalier_base::profile;
use espalier_model::{HiddenStates, Llama, layout::LayerInput};
use std::collections::BTreeSet;

/// Prunes in every way that is asked for, behind dense predecessors.
pub(super) fn prune(
    model: &Llama,
    jobs: &mut [Job],
    mut hidden: HiddenStates,
    mut pass: Pass,
    on_event: &mut (dyn FnMut(PruneEvent) + Send),
) -> Result<()> {
    if jobs.iter().any(|job| job.plan.propagate || job.plan.has_blocks()) {
        return Err(PruneError::Propagated);
    }
    let needed = needed(jobs.iter().map(|job| &job.plan));
    let (ways, end) = (jobs.len(), pass.blocks.end);
    model.each_block(pass.blocks, pass.ahead, |index, block| {
        weights::check_block(model, index)?;
        let layers = jobs.iter().flat_map(|job| job.plan.layers(index));
        let inputs: BTreeSet<LayerInput> = layers.map(|(projection, _)| projection.input()).collect();
        let inputs: Vec<_> = inputs.into_iter().collect();
        let gatherer = Gatherer::new(&*model.device, &needed, &inputs, hidden.counted());
        let passing = profile::stage(|| format!("measure block {index}"));
        let progress = &mut |tokens| on_event(PruneEvent::Tokens(tokens));
        let measured = if index + 1 < end {
            statistics::measure_and_advance(model, (index, block), &mut hidden, gatherer, progress)
        } else {
            statistics::measure(model, (index, block), &hidden, gatherer, progress)
        };
        let mut measured = measured.map_err(|error| error.in_block(index))?;
        drop(passing);
        for (number, job) in (1..).zip(&mut *jobs) {
            if index < job.progress.blocks {
                continue;
            }
            let layers = job.plan.layers(index);
            let stages: Vec<_> = job.plan.stages.iter().enumerate().collect();
            for (place, &(projection, sparsity)) in layers.iter().enumerate() {
                let at = LayerPlace::new(job.plan.targets, index, projection, sparsity);
                let linear = block.linear(projection);
                let mut state = LayerState::open(&*model.device, linear, at, stages.len() > 1)?;
                if let Some(squares) = &pass.squares {
                    state = state.with_gradients(squares.of(model, index, projection)?);
                }
                let here = measured.get(&projection.input());
                layer::prune(model, &stages, job.plan.seed, pass.tensors, &mut state, here)?;
                let dead = here.map_or(0, |measured| measured.zero_features);
                let (_, report) = state.finish(model, job.output, linear.weight.dtype(), dead)?;
                if number == ways {
                    statistics::keep_for(&mut measured, &layers[place + 1..]);
                }
                on_event(PruneEvent::Layer(&report));
                job.progress.layers.push(report);
            }
            job.finish_block(index)?;
        }
        if index + 1 < end { pass.keeper.keep(model, jobs, &hidden, index + 1) } else { Ok(()) }
    })
}
