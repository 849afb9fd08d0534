//! Hidden states across the end of a process: kept on the disk between two blocks, and brought back.

use super::{Job, Result};
use espalier_base::profile;
use espalier_device::DType;
use espalier_model::{HiddenStates, Llama, ModelError, Window, merged, writer::Factor};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Keeping hidden states may take this part of a run's time.
const SHARE: u32 = 50;

/// The assumed speed of a disk in bytes a second, until it is measured.
const BYTES_PER_SECOND: f64 = 1e9;

/// Keeps hidden states on the disk as often as that takes at most 1/[`SHARE`] of the time. Where a run is continued
/// between two of these points, it passes its windows through the few blocks since the last one again.
pub(super) struct Keeper {
    wanted: bool,
    last: Instant,
    cost: Duration,
}

impl Keeper {
    /// One that keeps the hidden states of so many bytes, if they are `wanted` and the disk has room for two copies: the
    /// old one goes when the new one is there.
    pub(super) fn new(wanted: bool, bytes: u64, jobs: &[Job]) -> Self {
        let has_room = jobs.first().is_some_and(|job| job.output.has_room_for(2 * bytes));
        if wanted && !has_room {
            tracing::warn!(
                "the disk has no room to keep hidden states: a run that is continued computes them again"
            );
        }
        let cost = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
        Self { wanted: wanted && has_room && bytes > 0, last: Instant::now(), cost }
    }

    /// Keeps the hidden states that enter a block, if it is time to. They go with the first of runs that share them.
    pub(super) fn keep(
        &mut self,
        model: &Llama,
        jobs: &mut [Job],
        hidden: &HiddenStates,
        block: usize,
    ) -> Result<()> {
        let Some(job) = jobs.first_mut().filter(|_| self.wanted && self.last.elapsed() >= SHARE * self.cost)
        else {
            return Ok(());
        };
        let _keeping = profile::stage(|| format!("keep hidden states before block {block}"));
        let started = Instant::now();
        hidden.each(model, |bytes| Ok::<_, super::PruneError>(job.output.write_hidden(block, bytes)?))?;
        let line = job.progress.keep_hidden(block)?;
        job.output.mark_hidden(block, line)?;
        self.cost = self.cost.max(started.elapsed());
        self.last = Instant::now();
        Ok(())
    }
}

/// The hidden states that enter the first block that is not finished: from the last file of them, else from the
/// embeddings, through the blocks since then as they stand in the output.
pub(super) fn hidden_states(
    model: &Llama,
    jobs: &[Job],
    start: usize,
    memory: &super::MemoryPlan,
    windows: &[Window],
    removed: &BTreeSet<usize>,
    progress: &mut dyn FnMut(usize),
) -> Result<HiddenStates> {
    let embed = || HiddenStates::embed(model, windows, memory.batch_tokens, &memory.hidden_states);
    let Some(job) = jobs.first().filter(|_| start > 0 && !windows.is_empty()) else { return Ok(embed()?) };
    let kept = match job.progress.hidden.filter(|&block| block <= start) {
        Some(block) => {
            let path = job.output.hidden(block)?;
            let kept = HiddenStates::load(model, windows, memory.batch_tokens, &memory.hidden_states, &path);
            let again = |error: &ModelError| {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "hidden states are computed again from the beginning");
            };
            kept.inspect_err(again).ok().map(|hidden| (block, hidden))
        }
        None => None,
    };
    let (from, mut hidden) = match kept {
        Some(kept) => kept,
        None => (0, embed()?),
    };
    model.each_block(from..start, memory.loads_ahead, |index, block| {
        if removed.contains(&index) {
            return Ok(());
        }
        if job.plan.propagate {
            for (projection, _) in job.plan.layers(index) {
                let name = projection.weight(index);
                let weight = &mut block.linear_mut(projection).weight;
                let bytes = job.output.read_back(&name)?.into();
                *weight = model.device.upload(weight.dtype(), weight.rows(), weight.cols(), bytes)?;
                if job.progress.has_low_rank(&name) {
                    let (left, right) = job.output.read_low_rank(&name)?;
                    let factor = |Factor { shape: [rows, cols], bytes }| {
                        model.device.upload(DType::F32, rows, cols, bytes)
                    };
                    *weight = merged(&*model.device, weight, &factor(left)?, &factor(right)?)?;
                }
            }
        }
        let _pass = profile::stage(|| format!("advance through block {index} again"));
        hidden.advance(model, block, &mut *progress)?;
        Ok::<_, super::PruneError>(())
    })?;
    Ok(hidden)
}
