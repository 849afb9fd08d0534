//! The model scope: what a method asks of the whole model before any of it is pruned, and what it decides.

use super::{
    MemoryPlan, Plan, PruneError, PruneEvent, Result, Targets,
    block::{BlockView, LayerStates, OpenBlock, Session, plain},
    check,
    gradients::{Stop, WayBack},
    layer::{LayerPlace, LayerState},
    method::Stage,
    services::{Services, out_of_scope, seed},
    trial::Trials,
    weights,
};
use espalier_base::{interrupt, profile};
use espalier_model::{
    Block, HiddenStates, Llama, LlamaConfig, ModelError, Narrow, Window, layout::Projection, narrow,
    writer::Cut,
};
use espalier_plugins::DeviceTensors;
use espalier_sdk::{
    Error, Sparsity,
    message::{BlockData, HostCall, HostReply, HostService, LayerTarget, MethodCall, ModelData, Part},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// What the stages that see the whole model have decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Which layers are pruned, and how much of each.
    pub targets: Targets,
    /// Blocks that are left out of the pruned model.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed: BTreeSet<usize>,
    /// Neurons and heads that stay in the other blocks.
    #[serde(default, skip_serializing_if = "Narrow::is_nothing")]
    pub narrow: Narrow,
    /// The stages' numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, f64>,
}

impl Decision {
    /// Nothing but what was asked for.
    pub(super) fn of(targets: &Targets) -> Self {
        Self {
            targets: targets.clone(),
            removed: BTreeSet::new(),
            narrow: Narrow::default(),
            numbers: BTreeMap::new(),
        }
    }

    /// What is left out of the copy of a model of this configuration.
    pub(super) fn cut(&self, config: &LlamaConfig) -> Result<Cut> {
        let cut = Cut::new(self.removed.clone(), &self.narrow, config);
        Ok(cut.map_err(|widths| ModelError::Widths { widths })?)
    }

    /// What is left out of a model of this configuration, in words; nothing where all stays.
    ///
    /// # Errors
    /// It does not fit the model.
    pub fn left_out(&self, config: &LlamaConfig) -> Result<Option<String>> {
        let stays = self.config(config)?;
        let (neurons, heads) = (config.intermediate_size, config.num_key_value_heads);
        let parts = [
            (self.removed.len(), config.num_hidden_layers, "blocks"),
            (neurons - stays.intermediate_size, neurons, "neurons of each block"),
            (
                heads - stays.num_key_value_heads,
                heads,
                "key and value heads of each block, with their query heads",
            ),
        ];
        let gone = parts.into_iter().filter(|(gone, ..)| *gone > 0);
        let gone: Vec<String> = gone.map(|(gone, of, what)| format!("{gone} of {of} {what}")).collect();
        Ok((!gone.is_empty()).then(|| gone.join(", ")))
    }

    /// The configuration of what is left, blocks that are removed still counted.
    fn config(&self, config: &LlamaConfig) -> Result<LlamaConfig> {
        let narrowed = self.narrow.config(config, &self.removed);
        Ok(narrowed.map_err(|widths| ModelError::Widths { widths })?)
    }

    /// The model with the neurons and heads that stay; none where all do.
    pub(super) fn narrowed(&self, model: &Llama) -> Result<Option<Llama>> {
        let narrowed = (!self.narrow.is_nothing()).then(|| model.narrowed(&self.narrow, &self.removed));
        Ok(narrowed.transpose()?)
    }
}

/// Has these stages decide, one after the other. `plan` is that of the stages that follow.
pub(super) fn decide(
    model: &Llama,
    stages: &[Stage],
    plan: &Plan,
    memory: &MemoryPlan,
    windows: &[Window],
    on_event: &mut (dyn FnMut(PruneEvent) + Send),
) -> Result<Decision> {
    let mut decision = Decision::of(plan.targets);
    for (number, stage) in stages.iter().enumerate() {
        interrupt::check()?;
        let _stage = profile::stage(|| format!("{} decides", stage.info.name));
        let tensors = Arc::new(DeviceTensors::new(Arc::clone(&model.device)));
        // As the stages before have left it.
        let narrowed = decision.narrowed(model)?;
        let before = decision.narrow.clone();
        let open = OpenModel {
            model: narrowed.as_ref().unwrap_or(model),
            before,
            stage,
            plan,
            memory,
            windows,
            tensors: &tensors,
            decision,
            survey: None,
            trials: None,
            back: None,
        };
        let call = MethodCall::Model { model: open.data(), seed: seed(plan.seed, [number, usize::MAX, 0]) };
        let name = stage.info.name.as_str();
        let mut steps = |done, of| on_event(PruneEvent::Stage { stage: name, done, of });
        let host = ModelHost { open: Mutex::new(open), services: Services::new(name, Some(&mut steps)) };
        let done = stage.loaded.call(&call, &host, tensors.clone());
        let done = done.and_then(|_| tensors.check_scores());
        tensors.clear();
        if done.is_err() {
            interrupt::check()?;
        }
        let of = || stage.info.name.clone();
        done.map_err(|source| PruneError::Method { layer: format!("the model ({})", of()), source })?;
        decision = host.open.into_inner().unwrap_or_else(PoisonError::into_inner).decision;
        let numbers = host.services.into_numbers().into_iter();
        decision.numbers.extend(numbers.map(|(name, number)| (format!("{}.{name}", of()), number)));
        check(&decision.config(&model.config)?, &decision.targets)?;
        let left_out = decision.left_out(&model.config)?;
        let stage = &stage.info.name;
        on_event(PruneEvent::Decided { stage, decision: &decision, left_out: left_out.as_deref() });
    }
    Ok(decision)
}

/// The functions of the model, for the length of a call.
struct ModelHost<'a> {
    open: Mutex<OpenModel<'a>>,
    services: Services<'a>,
}

struct OpenModel<'a> {
    model: &'a Llama,
    /// What of the checkpoint's neurons and heads this model has.
    before: Narrow,
    stage: &'a Stage,
    plan: &'a Plan<'a>,
    memory: &'a MemoryPlan,
    windows: &'a [Window<'a>],
    tensors: &'a Arc<DeviceTensors>,
    decision: Decision,
    survey: Option<Survey>,
    trials: Option<Trials>,
    back: Option<Back>,
}

/// A way through the dense model, a block at a time.
struct Survey {
    hidden: HiddenStates,
    index: usize,
    block: Block,
    states: LayerStates,
    session: Session,
}

/// A way back through the dense model, a window at a time.
struct Back {
    way: WayBack,
    windows: usize,
    /// The next window in the block that is shown.
    next: usize,
}

impl HostService for ModelHost<'_> {
    fn call(&self, call: HostCall) -> espalier_sdk::Result<HostReply> {
        self.services.answer(call, |call| self.open.lock().unwrap_or_else(PoisonError::into_inner).call(call))
    }
}

impl OpenModel<'_> {
    fn data(&self) -> ModelData {
        let blocks = self.model.config.num_hidden_layers;
        let mut layers = Vec::new();
        for block in (0..blocks).filter(|block| !self.decision.removed.contains(block)) {
            for projection in Projection::ALL {
                if let Some(target) = self.decision.targets.of(block, projection) {
                    let (rows, cols) = projection.shape(&self.model.config);
                    let (projection, shape) = (projection.name().to_owned(), [rows, cols]);
                    layers.push(LayerTarget { block, projection, shape, target });
                }
            }
        }
        let config = &self.model.config;
        ModelData {
            blocks,
            windows: self.windows.len(),
            neurons: config.intermediate_size,
            heads: config.num_key_value_heads,
            queries_per_head: config.num_attention_heads / config.num_key_value_heads.max(1),
            head_dim: config.head_dim,
            layers,
        }
    }

    fn call(&mut self, call: HostCall) -> espalier_sdk::Result<HostReply> {
        match call {
            HostCall::Survey => self.next_block(),
            HostCall::Gradients { windows } => self.next_gradients(windows),
            HostCall::SetTarget { block, projection, target } => {
                self.set_target(block, projection.as_deref(), target)
            }
            HostCall::SetRowCounts { block, projection, counts } => {
                self.set_row_counts(block, &projection, counts)
            }
            HostCall::Remove { block } => self.remove(block),
            HostCall::Keep { block, part, kept } => self.keep(block, part, kept),
            HostCall::Trial { targets, windows } => self.trial(&targets, windows),
            HostCall::Layer { .. }
            | HostCall::Set { .. }
            | HostCall::BlockInput { .. }
            | HostCall::DenseOutput { .. }
            | HostCall::TokenWeights { .. }
            | HostCall::Forward { .. }
            | HostCall::Backward { .. }
            | HostCall::DropTape { .. } => match &mut self.survey {
                Some(survey) => {
                    let mut view = survey_view(
                        self.model,
                        &mut survey.block,
                        survey.index,
                        &survey.hidden,
                        &mut survey.states,
                        self.tensors,
                    );
                    OpenBlock { view: &mut view, session: &mut survey.session, stage: self.stage }.call(call)
                }
                None => Err(Error::invalid(
                    "a block's functions are for the time of a survey, or of a way back for gradients",
                )),
            },
            other => Err(out_of_scope(&other)),
        }
    }

    /// Goes on to the next block of the survey, from the first if there is none.
    fn next_block(&mut self) -> espalier_sdk::Result<HostReply> {
        let model = self.model;
        if self.back.is_some() {
            return Err(Error::invalid("a survey cannot begin while gradients are taken: finish one first"));
        }
        let (hidden, index) = match self.survey.take() {
            Some(Survey { mut hidden, index, block, .. }) => {
                hidden.advance(model, &block, |_| {}).map_err(plain)?;
                (hidden, index + 1)
            }
            None => {
                let (tokens, placement) = (self.memory.batch_tokens, &self.memory.hidden_states);
                (HiddenStates::embed(model, self.windows, tokens, placement).map_err(plain)?, 0)
            }
        };
        // What was lent of the block before must not pile up.
        self.tensors.take_back(None);
        let removed = &self.decision.removed;
        let Some(index) = (index..model.config.num_hidden_layers).find(|block| !removed.contains(block))
        else {
            return Ok(HostReply::Block(None));
        };
        weights::check_block(model, index).map_err(plain)?;
        let block = model.load_block(index).map_err(plain)?;
        Ok(HostReply::Block(Some(self.show(index, block, hidden)?)))
    }

    /// Goes on to the next window's gradients, from the last block if there is no way back yet.
    fn next_gradients(&mut self, windows: usize) -> espalier_sdk::Result<HostReply> {
        let (model, windows) = (self.model, windows.min(self.windows.len()));
        if windows == 0 {
            return Err(Error::invalid("gradients take at least one calibration window"));
        }
        let mut back = match self.back.take() {
            Some(back) => back,
            None if self.survey.is_some() => {
                return Err(Error::invalid("gradients cannot be taken during a survey: finish one first"));
            }
            None => {
                let (first, removed) = (&self.windows[..windows], &self.decision.removed);
                let way = WayBack::start(model, first, self.memory, removed).map_err(plain)?;
                Back { way, windows, next: windows }
            }
        };
        if back.next == back.windows {
            self.survey = None;
            self.tensors.take_back(None);
            let Some(Stop { index, block, hidden }) = back.way.previous(model).map_err(plain)? else {
                return Ok(HostReply::Block(None));
            };
            self.show(index, block, hidden)?;
            back.next = 0;
        }
        let Some(Survey { hidden, index, block, states, .. }) = &mut self.survey else {
            unreachable!("a block is shown as long as its windows are");
        };
        let gradients = back.way.window(model, block, hidden, back.next).map_err(plain)?;
        back.next += 1;
        let block = survey_view(model, block, *index, hidden, states, self.tensors).data();
        self.back = Some(back);
        let weights = gradients.weights.into_iter();
        Ok(HostReply::ModelGradients {
            block,
            weights: weights.map(|(name, x)| (name.name().to_owned(), self.tensors.give(x))).collect(),
            input: self.tensors.give(gradients.input),
        })
    }

    /// Shows a block to the method until the next one is.
    fn show(
        &mut self,
        index: usize,
        mut block: Block,
        hidden: HiddenStates,
    ) -> espalier_sdk::Result<BlockData> {
        let model = self.model;
        let mut states = LayerStates::new();
        for projection in Projection::ALL {
            if let Some(sparsity) = self.decision.targets.of(index, projection) {
                let at = LayerPlace::new(&self.decision.targets, index, projection, sparsity);
                let state = LayerState::open(&*model.device, block.linear(projection), at, false);
                states.insert(projection, state.map_err(plain)?);
            }
        }
        let data = survey_view(model, &mut block, index, &hidden, &mut states, self.tensors).data();
        self.survey = Some(Survey { hidden, index, block, states, session: Session::default() });
        Ok(data)
    }

    fn set_target(
        &mut self,
        block: usize,
        name: Option<&str>,
        target: Sparsity,
    ) -> espalier_sdk::Result<HostReply> {
        let only = name.map(|name| name.parse::<Projection>()).transpose();
        let only = only.map_err(|error| Error::invalid(error.to_string()))?;
        let chosen = |projection: &Projection| only.is_none_or(|only| only == *projection);
        let mut targets = self.decision.targets.clone();
        let mut found = false;
        for projection in Projection::ALL.into_iter().filter(chosen) {
            if self.plan.targets.of(block, projection).is_some() {
                targets.set(block, projection, target);
                found = true;
            }
        }
        if !found || block >= self.model.config.num_hidden_layers {
            let what = name.unwrap_or("any layer");
            return Err(Error::invalid(format!("{what} of block {block} is not to be pruned")));
        }
        check(&self.model.config, &targets).map_err(plain)?;
        self.decision.targets = targets;
        Ok(HostReply::Done)
    }

    fn set_row_counts(
        &mut self,
        block: usize,
        name: &str,
        counts: Vec<usize>,
    ) -> espalier_sdk::Result<HostReply> {
        let projection: Projection = name.parse().map_err(|error| Error::invalid(format!("{error}")))?;
        let (rows, cols) = projection.shape(&self.model.config);
        let target = LayerTarget::of_rows([rows, cols], &counts);
        let mut targets = self.decision.targets.clone();
        targets.set_rows(block, projection, target, counts);
        check(&self.model.config, &targets).map_err(plain)?;
        // Refuses a layer that is not to be pruned.
        self.set_target(block, Some(name), target)?;
        self.decision.targets = targets;
        Ok(HostReply::Done)
    }

    fn remove(&mut self, block: usize) -> espalier_sdk::Result<HostReply> {
        let blocks = self.model.config.num_hidden_layers;
        let removed = &self.decision.removed;
        if block >= blocks || removed.contains(&block) {
            return Err(Error::invalid(format!("there is no block {block} (any more)")));
        }
        if removed.len() + 1 == blocks {
            return Err(Error::invalid(format!("block {block} is the last one left: it cannot be removed")));
        }
        self.decision.removed.insert(block);
        Ok(HostReply::Done)
    }

    fn keep(&mut self, block: usize, part: Part, mut kept: Vec<usize>) -> espalier_sdk::Result<HostReply> {
        let config = &self.model.config;
        if block >= config.num_hidden_layers || self.decision.removed.contains(&block) {
            return Err(Error::invalid(format!("there is no block {block} (any more)")));
        }
        narrow::check(config, block, part, &kept).map_err(Error::invalid)?;
        if let Some(before) = self.before.kept(block, part) {
            kept.iter_mut().for_each(|index| *index = before[*index]);
        }
        self.decision.narrow.keep(block, part, kept);
        Ok(HostReply::Done)
    }

    fn trial(
        &mut self,
        targets: &[(usize, String, Sparsity)],
        windows: usize,
    ) -> espalier_sdk::Result<HostReply> {
        if self.plan.stages.is_empty() {
            return Err(Error::invalid(
                "no stage follows that prunes, so that there is nothing to try: name one behind it in --method",
            ));
        }
        let mut tried = self.decision.targets.clone();
        for (block, name, target) in targets {
            let projection: Projection = name.parse().map_err(|error| Error::invalid(format!("{error}")))?;
            tried.set(*block, projection, *target);
        }
        check(&self.model.config, &tried).map_err(plain)?;
        let windows = windows.min(self.windows.len());
        if windows == 0 {
            return Err(Error::invalid("a trial takes at least one calibration window"));
        }
        let trials = self.trials.get_or_insert_default();
        let plan = Plan { targets: &tried, ..*self.plan };
        if self.decision.narrow != self.before {
            return Err(Error::invalid(
                "a trial is of the model as the stage found it: try before neurons or heads are left out",
            ));
        }
        let loss =
            trials.loss(self.model, &plan, &self.decision.removed, self.memory, &self.windows[..windows]);
        Ok(HostReply::Number(loss.map_err(plain)?))
    }
}

fn survey_view<'a>(
    model: &'a Llama,
    block: &'a mut Block,
    index: usize,
    hidden: &'a HiddenStates,
    states: &'a mut LayerStates,
    tensors: &'a Arc<DeviceTensors>,
) -> BlockView<'a> {
    BlockView { model, index, block, hidden, states, tensors, can_set: false }
}
