//! A whole run: a model, a method and calibration windows become a pruned checkpoint with its manifest.

use super::{
    Event, Job, LayerReport, Manifest, MemoryBudget, MemoryPlan, MemoryRecord, Method, Plan, Result, Targets,
    check, expected_work, prune,
};
use crate::{
    memory,
    model::{BATCH_TOKENS, CheckpointWriter, Llama},
    prune::{PruneError, model_card},
    select::CalibrationRecord,
};
use serde::{Deserialize, Serialize};
use std::{path::Path, slice, time::Instant};

/// What to do to a model, but for the method and the calibration data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The model, as it was named.
    pub model: String,
    /// Which layers are pruned, and how much of each.
    pub targets: Targets,
    /// Whether a block's statistics are taken behind predecessors that are already pruned.
    pub propagate: bool,
    /// How much memory the run may take.
    #[serde(default)]
    pub memory: MemoryBudget,
}

/// A run that has begun: what can be wrong with it is known, and its output has its place.
pub struct Run<'a> {
    settings: &'a Settings,
    method: &'a Method,
    model: &'a Llama,
    output: CheckpointWriter<'a>,
    started: Instant,
}

impl<'a> Run<'a> {
    /// Checks that the model can be pruned so, and begins a checkpoint that will be at `out`.
    ///
    /// # Errors
    /// Targets that do not fit the model, or an output that cannot be written there.
    pub fn begin(
        settings: &'a Settings,
        method: &'a Method,
        model: &'a Llama,
        out: &Path,
        overwrite: bool,
    ) -> Result<Self> {
        let started = Instant::now();
        check(&model.config, &settings.targets)?;
        let output = CheckpointWriter::create(&model.checkpoint, out, overwrite)?;
        Ok(Self { settings, method, model, output, started })
    }

    /// How much work runs that share a pass will be, for a progress bar that counts [`Event::work`].
    pub fn expected_work(runs: &[Self], windows: &[&[u32]]) -> usize {
        let plans: Vec<_> = runs.iter().map(Self::plan).collect();
        let blocks = runs.first().map_or(0, |run| run.model.config.num_hidden_layers);
        expected_work(&plans, blocks, windows)
    }

    fn plan(&self) -> Plan<'a> {
        self.method.plan(self.settings)
    }

    /// Prunes, and puts the checkpoint with its manifest and model card in its place. A method that measures
    /// nothing needs no windows.
    ///
    /// # Errors
    /// See [`PruneError`]; then nothing is left at the target.
    pub fn finish(
        mut self,
        windows: &[&[u32]],
        calibration: Option<CalibrationRecord>,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Manifest> {
        let (plan, layers) = prune_within_memory(slice::from_mut(&mut self), windows, on_event)?;
        self.write(plan, layers.into_iter().flatten().collect(), calibration, None)
    }

    /// Prunes one model in several ways, none of which propagates: the dense pass is done once.
    ///
    /// # Errors
    /// See [`PruneError`]; then nothing is left at the targets that were not finished before.
    pub fn finish_together(
        mut runs: Vec<Self>,
        windows: &[&[u32]],
        calibration: Option<&CalibrationRecord>,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Vec<Manifest>> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let (plan, layers) = prune_within_memory(&mut runs, windows, on_event)?;
        let sharing = (runs.len() > 1).then_some(runs.len());
        let write = |(run, layers): (Self, _)| run.write(plan.clone(), layers, calibration.cloned(), sharing);
        runs.into_iter().zip(layers).map(write).collect()
    }

    /// Writes what is not pruned, the manifest and the model card, and puts all in its place.
    fn write(
        mut self,
        plan: MemoryPlan,
        layers: Vec<LayerReport>,
        calibration: Option<CalibrationRecord>,
        sharing: Option<usize>,
    ) -> Result<Manifest> {
        self.output.copy_remaining()?;
        self.output.side_files()?;
        let manifest = Manifest {
            format: 1,
            espalier: env!("CARGO_PKG_VERSION"),
            model: self.settings.model.clone(),
            method: self.method.record.clone(),
            targets: self.settings.targets.clone(),
            propagate: self.settings.propagate,
            reached: share(&layers),
            calibration,
            device: self.model.device.info().clone(),
            memory: MemoryRecord {
                plan,
                device_peak_bytes: self.model.device.peak_bytes(),
                host_peak_bytes: memory::peak(),
            },
            seconds: self.started.elapsed().as_secs_f64(),
            sharing,
            layers,
        };
        self.output.add_file("espalier.json", &serde_json::to_vec_pretty(&manifest)?)?;
        self.output.add_file("README.md", model_card(&manifest).as_bytes())?;
        self.output.commit()?;
        Ok(manifest)
    }
}

/// Prunes within the memory there is. A device that runs out of it in spite of the plan, because another program
/// took some, is tried again with one block and half the tokens at a time, down to one window.
fn prune_within_memory(
    runs: &mut [Run],
    windows: &[&[u32]],
    on_event: &mut dyn FnMut(Event),
) -> Result<(MemoryPlan, Vec<Vec<LayerReport>>)> {
    if let Some(run) = runs.iter().find(|run| windows.is_empty() && run.method.measures()) {
        return Err(PruneError::NoCalibration { method: run.method.info.name.clone() });
    }
    let plans: Vec<_> = runs.iter().map(Run::plan).collect();
    let (model, budget) = (runs[0].model, runs[0].settings.memory);
    let longest = windows.iter().map(|window| window.len()).max().unwrap_or(0);
    let (mut batch_tokens, mut ahead) = (BATCH_TOKENS, true);
    loop {
        let spill = runs[0].output.folder();
        let memory = MemoryPlan::new(model, &plans, windows, batch_tokens, ahead, budget, spill)?;
        on_event(Event::Planned(&memory));
        let jobs =
            runs.iter_mut().map(|run| Job { plan: run.plan(), output: &mut run.output, layers: Vec::new() });
        let mut jobs: Vec<Job> = jobs.collect();
        match prune(model, &mut jobs, &memory, windows, on_event) {
            Ok(()) => return Ok((memory, jobs.into_iter().map(|job| job.layers).collect())),
            Err(error)
                if error.is_out_of_memory() && (memory.loads_ahead || memory.batch_tokens > longest) =>
            {
                (batch_tokens, ahead) = (memory.batch_tokens / 2, false);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "starting over with one block and fewer tokens at a time"
                );
            }
            Err(error) => return Err(error),
        }
    }
}

/// The share of zeros over all pruned layers.
fn share(layers: &[LayerReport]) -> f64 {
    let (zeros, all) = layers
        .iter()
        .fold((0, 0), |(zeros, all), layer| (zeros + layer.zeros, all + layer.shape[0] * layer.shape[1]));
    if all == 0 { 0.0 } else { zeros as f64 / all as f64 }
}
