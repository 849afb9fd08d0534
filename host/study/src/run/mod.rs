//! Running cells: one after the other, each by one process at a time, so that any number of processes can
//! share a folder.

mod budget;
mod describe;
mod pruning;

use budget::Budget;

use super::{
    Cell, Drawn, Plan, Result,
    folder::{self, Folder},
    results::{self, FAILED, Failure, PREDICTIONS, SCORES, Scores, evaluation_folder},
    windows::{Windows, windows},
};
use espalier_base::interrupt;
use espalier_data::Tokenizer;
use espalier_device::{
    Device,
    choose::{self, DeviceRequest},
};
use espalier_evaluate::{DenseReference, Metric, TaskItems};
use espalier_model::Llama;
use espalier_select::SelectionTarget;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Events of a study, for progress bars and logs.
#[derive(Debug)]
pub enum StudyEvent<'a> {
    /// A cell begins.
    Begins {
        /// A summary in words.
        cell: &'a str,
        /// Its place among those that are run, from 1.
        place: usize,
        /// How many are run.
        of: usize,
    },
    /// A part of a cell's work begins.
    Step {
        /// The work.
        what: &'static str,
        /// How much of it there is.
        total: usize,
    },
    /// So much of the part is done.
    Progress(usize),
    /// A cell ends.
    Ends {
        /// A summary in words.
        cell: &'a str,
        /// Its outcome.
        state: &'a CellEnd,
        /// Wall time, in seconds.
        seconds: f64,
    },
}

/// The state of a cell after a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellEnd {
    /// It was done already.
    Was,
    /// It is done.
    Done,
    /// It failed, for this reason.
    Failed(String),
    /// Another process works on it.
    Held,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StudyOutcome {
    /// Cells that are done, by this run or before.
    pub done: usize,
    /// Cells that failed.
    pub failed: usize,
    /// Cells that other processes work on.
    pub held: usize,
    /// Cells that were not begun, because they were not expected to end within the budget.
    pub left: usize,
    /// The time that they are expected to take.
    pub left_time: Duration,
    /// Cells that are done, but whose calibration data could not be measured.
    pub undescribed: usize,
    /// Whether the run was stopped before it was through.
    pub interrupted: bool,
}

/// Runs the cells of a plan that are not done. A cell that fails is recorded, and the others go on. With a budget, no cell
/// is begun that is not expected to end within it.
///
/// # Errors
/// An error that stops the whole study: no device, or results that cannot be written.
pub fn run(
    plan: &Plan,
    device: &DeviceRequest,
    budget: Option<Duration>,
    on_event: &mut (dyn FnMut(StudyEvent) + Send),
) -> Result<StudyOutcome> {
    let started = Instant::now();
    results::check_owner(plan)?;
    let folder = Folder::create(plan.out(), plan.study().file.text())?;
    plan.remember(&folder)?;
    let mut runner = Runner {
        plan,
        folder,
        request: device,
        device: None,
        windows: None,
        prepared: BTreeMap::new(),
        words: BTreeMap::new(),
        apart: BTreeSet::new(),
        budget: None,
        on_event,
    };
    if let Some(limit) = budget {
        runner.budget = Some(Budget::new(plan, &runner.device()?, started, limit)?);
    }
    let mut outcome = StudyOutcome::default();
    let mut left: Vec<&Cell> = plan.chosen().iter().collect();
    // What others hold may be done, or theirs to fail, by the time that everything else is.
    for _ in 0..2 {
        let held = runner.pass(&left, &mut outcome)?;
        left = held;
        if outcome.interrupted || left.is_empty() {
            break;
        }
    }
    outcome.held = left.len();
    Ok(outcome)
}

struct Runner<'a> {
    plan: &'a Plan<'a>,
    folder: Folder,
    request: &'a DeviceRequest,
    /// Opened when there is something to do.
    device: Option<Arc<dyn Device>>,
    /// The windows that were used last.
    windows: Option<Windows>,
    /// The prepared evaluations, by model and evaluation.
    prepared: BTreeMap<(usize, usize), Prepared>,
    /// The runs of words of evaluations, by model and evaluation.
    words: BTreeMap<(usize, usize), HashSet<u64>>,
    /// Hashes of cells that could not be pruned together.
    apart: BTreeSet<String>,
    /// The time that is left, if it is bounded.
    budget: Option<Budget>,
    on_event: &'a mut (dyn FnMut(StudyEvent) + Send),
}

/// An evaluation's data, the same for all models pruned from one.
struct Prepared {
    tokenizer: Tokenizer,
    items: TaskItems,
    dense: Option<DenseReference>,
}

impl<'a> Runner<'a> {
    /// Runs cells, and gives back those that others hold.
    fn pass(&mut self, cells: &[&'a Cell], outcome: &mut StudyOutcome) -> Result<Vec<&'a Cell>> {
        let mut held = Vec::new();
        for (place, cell) in cells.iter().enumerate() {
            if interrupt::check().is_err() {
                outcome.interrupted = true;
                break;
            }
            if self.is_beyond_budget(cell, outcome) {
                continue;
            }
            let name = self.plan.name(cell);
            let started = Instant::now();
            (self.on_event)(StudyEvent::Begins { cell: &name, place: place + 1, of: cells.len() });
            let state = match self.cell(cell) {
                // Ctrl-C comes out of wherever it was noticed; what was finished before is written.
                Err(_) if interrupt::check().is_err() => {
                    outcome.interrupted = true;
                    break;
                }
                state => state?,
            };
            let seconds = started.elapsed().as_secs_f64();
            (self.on_event)(StudyEvent::Ends { cell: &name, state: &state, seconds });
            if let (Some(budget), CellEnd::Done) = (&mut self.budget, &state) {
                budget.learn(&cell.hash, seconds);
            }
            if matches!(state, CellEnd::Was | CellEnd::Done) {
                match self.describe(cell) {
                    Ok(described) => outcome.undescribed += usize::from(!described),
                    Err(_) => outcome.interrupted = true,
                }
            }
            match state {
                CellEnd::Was | CellEnd::Done => outcome.done += 1,
                CellEnd::Failed(_) => outcome.failed += 1,
                CellEnd::Held => held.push(*cell),
            }
        }
        Ok(held)
    }

    /// Whether a cell is left to a later run: it is not done, and it, or one before it, does not fit the budget.
    fn is_beyond_budget(&self, cell: &Cell, outcome: &mut StudyOutcome) -> bool {
        let Some(budget) = &self.budget else { return false };
        let beyond = (outcome.left > 0 || !budget.fits(cell)) && !is_done(self.plan, &self.folder, cell);
        if beyond {
            outcome.left += 1;
            outcome.left_time = outcome.left_time.saturating_add(budget.expected(cell));
        }
        beyond
    }

    fn cell(&mut self, cell: &Cell) -> Result<CellEnd> {
        let done = is_done(self.plan, &self.folder, cell);
        let Some(_lease) = self.folder.lease(&cell.hash)? else {
            return Ok(if done { CellEnd::Was } else { CellEnd::Held });
        };
        let home = self.folder.cell(&cell.hash);
        folder::make(&home)?;
        folder::sweep(&home)?;
        // Whoever had the lease before may have done it.
        if is_done(self.plan, &self.folder, cell) {
            // A process that was killed may have left its model.
            self.drop_model(&home)?;
            return Ok(CellEnd::Was);
        }
        match self.work(cell, &home) {
            Ok(()) => {
                folder::remove(&home.join(FAILED))?;
                Ok(CellEnd::Done)
            }
            Err(error) if interrupt::check().is_err() => Err(error),
            Err(error) => {
                // The next cell gets a device that works.
                if self.device.as_ref().is_some_and(|device| device.is_lost() || device.is_stuck()) {
                    self.device = None;
                }
                let error = error.chain();
                folder::write_json(&home.join(FAILED), &Failure { error: error.clone() })?;
                Ok(CellEnd::Failed(error))
            }
        }
    }

    /// Does what is missing of a cell.
    fn work(&mut self, cell: &Cell, home: &Path) -> Result<()> {
        let study = self.plan.study();
        let folder = match &cell.variant {
            None => study.models[cell.model].folder.clone(),
            Some(_) => self.pruned(cell, home)?,
        };
        let model = Llama::open(&folder, self.device()?)?;
        for evaluation in 0..study.evaluations.len() {
            if results::scores(self.plan, home, evaluation)?.is_none() {
                self.evaluate(cell, &model, home, evaluation)?;
            }
        }
        self.drop_model(home)
    }

    /// Runs one evaluation, and writes its predictions and scores.
    fn evaluate(&mut self, cell: &Cell, model: &Llama, home: &Path, evaluation: usize) -> Result<()> {
        let started = Instant::now();
        self.prepare(cell.model, evaluation)?;
        let Some(prepared) = self.prepared.get(&(cell.model, evaluation)) else { return Ok(()) };
        let on_event = &mut *self.on_event;
        on_event(StudyEvent::Step { what: "evaluating", total: prepared.items.work(&model.config) });
        let progress = &mut |work| on_event(StudyEvent::Progress(work));
        let Prepared { tokenizer, items, dense } = prepared;
        let result = espalier_evaluate::run(model, tokenizer, items, dense.as_ref(), progress)?;
        let home = evaluation_folder(self.plan, home, evaluation);
        folder::make(&home)?;
        folder::sweep(&home)?;
        // The scores are written last: where they are, all is.
        let scores = Scores {
            evaluation: result.name.clone(),
            metrics: result.metrics.clone(),
            seconds: started.elapsed().as_secs_f64(),
            device: model.device.info().name.clone(),
        };
        espalier_evaluate::write_predictions(&home.join(PREDICTIONS), true, &[result])
            .map_err(espalier_evaluate::EvaluateError::from)?;
        folder::write_json(&home.join(SCORES), &scores)
    }

    /// Reads and tokenises an evaluation's data for a model, and runs the dense model on them where a
    /// divergence from it is measured: once for all cells of the model.
    fn prepare(&mut self, model: usize, evaluation: usize) -> Result<()> {
        let key = (model, evaluation);
        // One model is at work at a time.
        self.prepared.retain(|(other, _), _| *other == model);
        if self.prepared.contains_key(&key) {
            return Ok(());
        }
        let study = self.plan.study();
        let (model, task) = (&study.models[model], &study.evaluations[evaluation].task);
        let tokenizer = Tokenizer::open(&model.folder, model.config.vocab_size)?;
        let items = TaskItems::read(task, &model.folder, &model.config, &tokenizer)?;
        items.warn();
        let mut dense = None;
        if task.measures(Metric::JsDivergence) {
            let whole = Llama::open(&model.folder, self.device()?)?;
            let on_event = &mut *self.on_event;
            on_event(StudyEvent::Step { what: "dense model", total: items.reading_work(&model.config) });
            let progress = &mut |work| on_event(StudyEvent::Progress(work));
            dense = Some(DenseReference::new(&whole, &items, progress)?);
        }
        self.prepared.insert(key, Prepared { tokenizer, items, dense });
        Ok(())
    }

    /// The windows of a draw, chosen if they are not there.
    fn windows(&mut self, cell: &Cell, drawn: Drawn) -> Result<&Windows> {
        let study = self.plan.study();
        let hash = self.plan.identities().selection(cell.model, drawn);
        let model = &study.models[cell.model];
        let found = match self.windows.take().filter(|windows| windows.hash == hash) {
            Some(windows) => windows,
            None => {
                let device = self.device()?;
                let target = SelectionTarget {
                    folder: &model.folder,
                    config: &model.config,
                    device: &|| Ok(Arc::clone(&device)),
                };
                let set = &study.calibrations[drawn.set];
                // A selector may ask the model from threads of its own.
                let on_event = Mutex::new(&mut *self.on_event);
                let progress = |step| {
                    let mut on_event = on_event.lock().unwrap_or_else(PoisonError::into_inner);
                    match step {
                        espalier_select::SelectionStep::Begin(total) => {
                            on_event(StudyEvent::Step { what: "choosing data", total })
                        }
                        espalier_select::SelectionStep::Advance(steps) => {
                            on_event(StudyEvent::Progress(steps))
                        }
                        espalier_select::SelectionStep::End => {}
                    }
                };
                windows(&self.folder, hash, set, drawn, target, &progress)?
            }
        };
        Ok(self.windows.insert(found))
    }

    /// The device, opened when it is first wanted.
    fn device(&mut self) -> Result<Arc<dyn Device>> {
        let device = match &self.device {
            Some(device) => Arc::clone(device),
            None => choose::open(self.request)?,
        };
        self.device = Some(Arc::clone(&device));
        Ok(device)
    }
}

/// Whether nothing is missing of a cell.
fn is_done(plan: &Plan, folder: &Folder, cell: &Cell) -> bool {
    let home = folder.cell(&cell.hash);
    // What cannot be read is tried again, and then said.
    let scored = |evaluation| matches!(results::scores(plan, &home, evaluation), Ok(Some(_)));
    let kept = cell.variant.is_none() || pruning::is_kept(plan.study().keep_models, &home);
    let pruned = matches!(results::knows_pruning(cell, &home), Ok(true));
    kept && pruned && (0..plan.study().evaluations.len()).all(scored)
}
