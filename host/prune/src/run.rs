//! A whole run: a model, a method and calibration windows become a pruned checkpoint with its manifest.

use super::{
    Decision, Fingerprint, Job, LayerReport, Manifest, MemoryBudget, MemoryPlan, MemoryRecord, Method,
    Origin, Plan, Progress, PruneError, PruneEvent, Result, Targets, check,
    decide::decide,
    expected_work,
    journal::{self, begin},
    model_card, prune,
};
use espalier_base::{cause::causes, memory};
use espalier_model::{
    BATCH_TOKENS, CheckpointWriter, Llama, Window,
    checkpoint::ADAPTER,
    writer::{MANIFEST, Place},
};
use espalier_select::CalibrationRecord;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path, time::Instant};

/// The settings of a run, without the method and the calibration data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The model, as it was named.
    pub model: String,
    /// Which layers are pruned, and how much of each.
    pub targets: Targets,
    /// Whether a block's statistics are taken behind predecessors that are already pruned.
    pub propagate: bool,
    /// The seed of the methods' own draws.
    #[serde(default)]
    pub seed: u64,
    /// How much memory the run may take.
    #[serde(default)]
    pub memory: MemoryBudget,
}

/// Where a run writes to.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// The folder of the pruned model.
    pub path: &'a Path,
    /// Whether an output of this program that is there is replaced.
    pub overwrite: bool,
    /// The treatment of an unfinished output beside it.
    pub if_unfinished: IfUnfinished,
    /// Whether hidden states are kept on the disk between blocks, so that a run that is continued need not compute them
    /// again.
    pub keep_hidden: bool,
}

/// The treatment of finished blocks of an earlier run that ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfUnfinished {
    /// They are continued; where they were made from something else, that is an error.
    Continue,
    /// They are continued if they can be, and else forgotten.
    ContinueOrRestart,
    /// They are forgotten.
    Restart,
}

/// A run that has begun: what can be wrong with it is known, and its output has its place.
#[derive(Debug)]
pub struct Run<'a> {
    settings: &'a Settings,
    method: &'a Method,
    model: &'a Llama,
    to: Output<'a>,
    place: Place,
    started: Instant,
}

/// A run whose windows are known: its output is open, anew or behind the blocks that are finished.
struct Started<'a> {
    settings: &'a Settings,
    method: &'a Method,
    model: &'a Llama,
    to: Output<'a>,
    output: CheckpointWriter<'a>,
    progress: Progress,
    fingerprint: Fingerprint,
    /// What is pruned.
    decision: Decision,
    /// Blocks that an earlier run finished.
    continued: Option<usize>,
    started: Instant,
}

impl<'a> Run<'a> {
    /// Checks that the model can be pruned so, and that its output can be written.
    ///
    /// # Errors
    /// Targets that do not fit the model, or an output that cannot be written there.
    pub fn begin(
        settings: &'a Settings,
        method: &'a Method,
        model: &'a Llama,
        to: Output<'a>,
    ) -> Result<Self> {
        let started = Instant::now();
        check(&model.config, &settings.targets)?;
        method.check(&settings.targets)?;
        if model.checkpoint.has_adapter() {
            return Err(PruneError::HasAdapter { folder: model.checkpoint.dir().join(ADAPTER) });
        }
        if let Some(blocks) = model.blocks_left_out() {
            tracing::warn!(
                "config.json has num_hidden_layers {}, but the checkpoint has blocks up to {}: those from {} on are not \
                 part of the model, and are copied as they are",
                blocks.start,
                blocks.end - 1,
                blocks.start
            );
        }
        let place = Place::open(&model.checkpoint, to.path, to.overwrite)?;
        Ok(Self { settings, method, model, to, place, started })
    }

    /// How much work runs that share a pass will be, for a progress bar that counts [`PruneEvent::work`].
    pub fn expected_work(runs: &[Self], windows: &[Window]) -> usize {
        let plans: Vec<_> = runs.iter().map(|run| run.method.plan(run.settings)).collect();
        let blocks = runs.first().map_or(0, |run| run.model.config.num_hidden_layers);
        expected_work(&plans, blocks, windows)
    }

    /// Prunes, and puts the checkpoint with its manifest and model card in its place. A method that measures
    /// nothing needs no windows.
    ///
    /// # Errors
    /// See [`PruneError`]; then nothing is at the target, and the blocks that are finished can be continued.
    pub fn finish(
        self,
        windows: &[Window],
        calibration: Option<CalibrationRecord>,
        on_event: &mut (dyn FnMut(PruneEvent) + Send),
    ) -> Result<Manifest> {
        let mut manifests = Self::finish_together(vec![self], windows, calibration.as_ref(), on_event)?;
        manifests.pop().ok_or(PruneError::NothingToDo)
    }

    /// Prunes one model in several ways; if there is more than one, none of them propagates, and the dense pass is done
    /// once.
    ///
    /// # Errors
    /// See [`PruneError`]; then nothing is at the targets that were not finished before, and the blocks that are finished
    /// can be continued.
    pub fn finish_together(
        runs: Vec<Self>,
        windows: &[Window],
        calibration: Option<&CalibrationRecord>,
        on_event: &mut (dyn FnMut(PruneEvent) + Send),
    ) -> Result<Vec<Manifest>> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let sharing = (runs.len() > 1).then_some(runs.len());
        let start = |run: Self| run.start(windows, on_event);
        let mut runs = runs.into_iter().map(start).collect::<Result<Vec<_>>>()?;
        let plan = prune_within_memory(&mut runs, windows, on_event);
        let kept: Vec<_> = runs.iter_mut().map(Started::kept).collect();
        let say = |kept: &Option<String>| kept.iter().for_each(|kept| tracing::warn!("{kept}"));
        let plan = plan.inspect_err(|_| kept.iter().for_each(say))?;
        let write = |(run, kept): (Started, _)| {
            run.write(plan.clone(), calibration.cloned(), sharing).inspect_err(|_| say(kept))
        };
        runs.into_iter().zip(&kept).map(write).collect()
    }

    /// Opens the output, behind the blocks that an earlier run finished where there are some.
    fn start(self, windows: &[Window], on_event: &mut (dyn FnMut(PruneEvent) + Send)) -> Result<Started<'a>> {
        let Self { settings, method, model, to, place, started } = self;
        if windows.is_empty() && method.measures() {
            return Err(PruneError::NoCalibration { method: method.name().to_owned() });
        }
        if method.measures() && windows.iter().all(|window| window.counted() == 0) {
            return Err(PruneError::NothingCounts);
        }
        let fingerprint = Fingerprint::new(settings, method, model, windows)?;
        let found = match to.if_unfinished {
            IfUnfinished::Restart => None,
            _ => match journal::read(&place.journal()?, &fingerprint) {
                Ok(found) => found,
                Err(_) if to.if_unfinished == IfUnfinished::ContinueOrRestart => None,
                Err(why) => {
                    return Err(PruneError::NotContinued { folder: place.folder().to_owned(), why });
                }
            },
        };
        let resumed = match found {
            Some(progress) => {
                let decision = progress.decided.clone().unwrap_or_else(|| Decision::of(&settings.targets));
                let (folder, cut) = (place.folder().to_owned(), decision.cut(&model.config)?);
                match CheckpointWriter::resume(&model.checkpoint, place, progress.written(), cut) {
                    Ok(output) => Ok((output, progress, decision)),
                    Err(error) if to.if_unfinished == IfUnfinished::ContinueOrRestart => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "starting over");
                        Err(Place::open(&model.checkpoint, to.path, to.overwrite)?)
                    }
                    Err(error) => return Err(PruneError::NotContinued { folder, why: causes(&error) }),
                }
            }
            None => Err(place),
        };
        let (output, progress, decision) = match resumed {
            Ok(resumed) => resumed,
            Err(place) => {
                let (mut progress, mut lines) = (Progress::default(), vec![begin(&fingerprint)?]);
                let mut decision = Decision::of(&settings.targets);
                if !method.deciding().is_empty() {
                    decision = decided(settings, method, model, place.folder(), windows, on_event)?;
                    lines.push(progress.decide(&decision)?);
                }
                let cut = decision.cut(&model.config)?;
                (CheckpointWriter::create(&model.checkpoint, place, &lines, cut)?, progress, decision)
            }
        };
        let continued = (progress.blocks > 0).then_some(progress.blocks);
        Ok(Started {
            settings,
            method,
            model,
            to,
            output,
            progress,
            fingerprint,
            decision,
            continued,
            started,
        })
    }
}

/// Has the stages decide that see the whole model.
fn decided(
    settings: &Settings,
    method: &Method,
    model: &Llama,
    spill: &Path,
    windows: &[Window],
    on_event: &mut (dyn FnMut(PruneEvent) + Send),
) -> Result<Decision> {
    let plan = method.plan(settings);
    let all = Plan { stages: method.stages(), ..plan };
    let memory = MemoryPlan::new(model, &[all], windows, BATCH_TOKENS, false, settings.memory, spill)?;
    model.device.set_budget(memory.device_bound());
    let decision = decide(model, method.deciding(), &plan, &memory, windows, on_event);
    model.device.set_budget(None);
    decision
}

impl<'a> Started<'a> {
    fn plan<'d>(&self, decision: &'d Decision) -> Plan<'d>
    where
        'a: 'd,
    {
        Plan { targets: &decision.targets, ..self.method.plan(self.settings) }
    }

    /// The finished part and how to continue, for a run that ends early.
    fn kept(&mut self) -> Option<String> {
        // A write that failed may be why the run ended: the journal on the disk is what counts.
        let _ = self.output.flush();
        let kept = journal::read(&self.output.journal().ok()?, &self.fingerprint).ok()??;
        Some(format!(
            "{} of {} blocks are finished and kept in {}: run the same command with --resume to continue, or remove them \
             with `host clean`",
            kept.blocks,
            self.model.config.num_hidden_layers,
            self.output.folder().display()
        ))
    }

    /// Writes what is not pruned, the manifest and the model card, and puts all in its place.
    fn write(
        mut self,
        plan: MemoryPlan,
        calibration: Option<CalibrationRecord>,
        sharing: Option<usize>,
    ) -> Result<Manifest> {
        self.output.copy_remaining()?;
        self.output.side_files(self.model.config.num_hidden_layers)?;
        let cut = self.decision.cut(&self.model.config)?;
        let mut low_rank = Vec::new();
        for layer in &mut self.progress.layers {
            if let Some(name) = cut.name(&layer.name) {
                let name = name.into_owned();
                let source = std::mem::replace(&mut layer.name, name);
                low_rank.extend(layer.rank.map(|_| (source, layer.name.clone())));
            }
        }
        self.output.add_low_rank(&low_rank)?;
        let mut manifest = Manifest {
            format: 2,
            espalier: env!("CARGO_PKG_VERSION"),
            model: self.settings.model.clone(),
            method: self.method.record().clone(),
            stages: self.method.records(),
            seed: self.settings.seed,
            targets: self.settings.targets.clone(),
            decided: self.progress.decided.clone(),
            left_out: self.decision.left_out(&self.model.config)?,
            propagate: self.settings.propagate,
            reached: share(&self.progress.layers),
            calibration,
            device: self.model.device.info().clone(),
            memory: MemoryRecord {
                plan,
                device_peak_bytes: self.model.device.peak_bytes(),
                host_peak_bytes: memory::peak(),
            },
            seconds: self.started.elapsed().as_secs_f64(),
            continued: self.continued,
            unused_tensors: self
                .model
                .checkpoint
                .unused(&self.model.config)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            fingerprint: self.fingerprint.sha256(),
            sharing,
            layers: self.progress.layers,
            files: BTreeMap::new(),
        };
        let origin = Origin::of(self.model.checkpoint.dir(), &self.settings.model);
        self.output.add_file("README.md", model_card(&manifest, &origin).as_bytes())?;
        manifest.files = self.output.files()?;
        self.output.add_file(MANIFEST, &serde_json::to_vec_pretty(&manifest)?)?;
        self.output.commit()?;
        Ok(manifest)
    }
}

/// How often a device that was lost is opened again.
const REOPENED: usize = 3;

/// Prunes within the memory there is. A device that runs out of it in spite of the plan, because another program
/// took some, continues behind the blocks that are finished, with one block and half the tokens at a time, down to one
/// window. A device that is lost is opened again.
fn prune_within_memory(
    runs: &mut [Started],
    windows: &[Window],
    on_event: &mut (dyn FnMut(PruneEvent) + Send),
) -> Result<MemoryPlan> {
    let decisions: Vec<_> = runs.iter().map(|run| run.decision.clone()).collect();
    let plans: Vec<_> = runs.iter().zip(&decisions).map(|(run, decision)| run.plan(decision)).collect();
    let (original, budget, keep_hidden) = (runs[0].model, runs[0].settings.memory, runs[0].to.keep_hidden);
    let removed = runs[0].decision.removed.clone();
    let longest = windows.iter().map(|window| window.len()).max().unwrap_or(0);
    let (mut batch_tokens, mut ahead) = (BATCH_TOKENS, true);
    let mut reopened: Option<Llama> = decisions[0].narrowed(original)?;
    let mut losses = 0;
    loop {
        let model = reopened.as_ref().unwrap_or(original);
        let spill = runs[0].output.folder();
        let memory = MemoryPlan::new(model, &plans, windows, batch_tokens, ahead, budget, spill)?;
        on_event(PruneEvent::Planned(&memory));
        let jobs = runs.iter_mut().zip(&decisions).map(|(run, decision)| Job {
            plan: run.plan(decision),
            output: &mut run.output,
            progress: &mut run.progress,
        });
        let mut jobs: Vec<Job> = jobs.collect();
        model.device.set_budget(memory.device_bound());
        let result = prune(model, &mut jobs, &memory, windows, keep_hidden, &removed, on_event);
        model.device.set_budget(None);
        let Err(error) = result else { return Ok(memory) };
        let is_lost = model.device.is_lost();
        if is_lost && losses < REOPENED {
            losses += 1;
            tracing::warn!(error = &error as &dyn std::error::Error, "the device is opened again");
            let device = model.device.reopen()?;
            let opened = Llama::open(original.checkpoint.dir(), device)?;
            reopened = Some(decisions[0].narrowed(&opened)?.unwrap_or(opened));
        } else if !is_lost
            && error.is_out_of_memory()
            && (memory.loads_ahead || memory.batch_tokens > longest)
        {
            (batch_tokens, ahead) = (memory.batch_tokens / 2, false);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "continuing with one block and fewer tokens at a time"
            );
        } else {
            return Err(error);
        }
        for job in &mut jobs {
            job.progress.rewind();
            job.output.flush()?;
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
