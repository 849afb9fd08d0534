//! The block scope: what a method asks of one block while it works on it.

use super::{
    PruneError, PruneEvent, Result,
    answer::{Fault, Taken},
    layer::LayerState,
    method::Stage,
    services::{Services, out_of_scope, seed},
    statistics::{self, Gatherer, Measured},
};
use espalier_base::{cause::causes, interrupt, profile};
use espalier_device::Tensor;
use espalier_model::{
    Block, HiddenStates, Llama, ModelError, Tape,
    layout::{LayerInput, Projection},
    narrow::{self, Group},
};
use espalier_plugins::DeviceTensors;
use espalier_sdk::{
    Code, Error,
    message::{BlockData, HostCall, HostReply, HostService, MethodCall, Part, PrunedData, TensorHandle},
    service::TensorId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// The layers of a block while stages work on it.
pub(super) type LayerStates = BTreeMap<Projection, LayerState>;

/// A block that a stage sees.
pub(super) struct BlockView<'a> {
    pub(super) model: &'a Llama,
    pub(super) index: usize,
    /// With the weights that the stages before have left.
    pub(super) block: &'a mut Block,
    /// What enters it.
    pub(super) hidden: &'a HiddenStates,
    /// The layers that are to be pruned.
    pub(super) states: &'a mut LayerStates,
    pub(super) tensors: &'a Arc<DeviceTensors>,
    /// Whether layers may be changed.
    pub(super) can_set: bool,
}

/// Has a stage work on a block.
pub(super) fn run(
    view: BlockView,
    (number, stage): (usize, &Stage),
    run_seed: u64,
    on_event: &mut (dyn FnMut(PruneEvent) + Send),
) -> Result<()> {
    interrupt::check()?;
    let index = view.index;
    let name = format!("block {index}");
    let _stage = profile::stage(|| format!("{} on {name}", stage.info.name));
    let call = MethodCall::Block { block: view.data(), seed: seed(run_seed, [number, index, usize::MAX]) };
    let tensors = Arc::clone(view.tensors);
    let named = format!("{} on {name}", stage.info.name);
    let mut steps = |done, of| on_event(PruneEvent::Stage { stage: &named, done, of });
    let services = Services::new(&stage.info.name, Some(&mut steps));
    let host = BlockHost { open: Mutex::new((view, Session::default())), services, stage };
    let started = Instant::now();
    let done = stage.loaded.call(&call, &host, tensors.clone());
    let done = done.and_then(|_| tensors.check_scores());
    tensors.clear();
    if done.is_err() {
        interrupt::check()?;
    }
    host.end(started);
    done.map_err(|source| PruneError::Method { layer: name, source })
}

/// The functions of a block, for the length of a call.
struct BlockHost<'a> {
    open: Mutex<(BlockView<'a>, Session)>,
    services: Services<'a>,
    stage: &'a Stage,
}

/// What is kept of a block between two calls of its functions.
#[derive(Default)]
pub(super) struct Session {
    /// Statistics of the block as it is now.
    measured: BTreeMap<LayerInput, Measured>,
    tapes: BTreeMap<u64, Tape>,
    next_tape: u64,
    /// What was lent of each layer since it was last set.
    lent: BTreeMap<Projection, Vec<TensorId>>,
}

impl BlockHost<'_> {
    /// Ends the call: its time and numbers go to the first of the block's layers.
    fn end(self, started: Instant) {
        let (view, _) = self.open.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = view.states.values_mut().next() {
            first.time += started.elapsed();
            first.numbers.extend(self.services.into_numbers());
        }
    }
}

impl HostService for BlockHost<'_> {
    fn call(&self, call: HostCall) -> espalier_sdk::Result<HostReply> {
        self.services.answer(call, |call| {
            let (view, session) = &mut *self.open.lock().unwrap_or_else(PoisonError::into_inner);
            OpenBlock { view, session, stage: self.stage }.call(call)
        })
    }
}

/// A block and its session, for one function.
pub(super) struct OpenBlock<'a, 'v> {
    pub(super) view: &'a mut BlockView<'v>,
    pub(super) session: &'a mut Session,
    pub(super) stage: &'a Stage,
}

impl BlockView<'_> {
    pub(super) fn data(&self) -> BlockData {
        BlockData {
            index: self.index,
            layers: self.states.keys().map(|projection| projection.name().to_owned()).collect(),
            batches: self.hidden.batches(),
        }
    }
}

impl OpenBlock<'_, '_> {
    /// Does what a method asks of a block.
    pub(super) fn call(&mut self, call: HostCall) -> espalier_sdk::Result<HostReply> {
        match call {
            HostCall::Layer { projection } => self.layer(&projection),
            HostCall::Set { projection, pruned } => self.set(&projection, pruned),
            HostCall::Permute { part, order } => self.permute(part, &order),
            HostCall::BlockInput { batch } => {
                let (_, hidden) = self.view.hidden.copy(self.view.model, batch).map_err(plain)?;
                Ok(HostReply::Tensor(self.view.tensors.give(hidden)))
            }
            HostCall::DenseOutput { batch } => self.dense_output(batch),
            HostCall::TokenWeights { batch } => {
                let (batch, _) = self.view.hidden.copy(self.view.model, batch).map_err(plain)?;
                let rows = batch.tokens.len();
                let weights = (0..rows).map(|token| batch.weight(token)).collect();
                let weights = self.view.model.device.from_f32(rows, 1, weights).map_err(plain)?;
                Ok(HostReply::Tensor(self.view.tensors.give(weights)))
            }
            HostCall::Forward { batch, weights } => self.forward(batch, &weights),
            HostCall::Backward { tape, gradient } => self.backward(tape, gradient),
            HostCall::DropTape { tape } => {
                self.session.tapes.remove(&tape);
                Ok(HostReply::Done)
            }
            other => Err(out_of_scope(&other)),
        }
    }

    fn projection(&self, name: &str) -> espalier_sdk::Result<Projection> {
        let projection: Projection = name.parse().map_err(|error| Error::invalid(format!("{error}")))?;
        if !self.view.states.contains_key(&projection) {
            let index = self.view.index;
            return Err(Error::invalid(format!("{name} of block {index} is not to be pruned")));
        }
        Ok(projection)
    }

    fn layer(&mut self, name: &str) -> espalier_sdk::Result<HostReply> {
        let projection = self.projection(name)?;
        let needed = &self.stage.info.statistics;
        let input = projection.input();
        if !needed.is_empty() && !self.session.measured.contains_key(&input) {
            let BlockView { model, index, block, hidden, states, .. } = &mut *self.view;
            // Together with those of later layers, which are likely to be asked for next.
            let inputs: BTreeSet<LayerInput> = states.keys().map(|projection| projection.input()).collect();
            let is_due = |input: &LayerInput| !self.session.measured.contains_key(input);
            let inputs: Vec<_> = inputs.into_iter().filter(is_due).collect();
            let gatherer = Gatherer::new(&*model.device, needed, &inputs, hidden.counted());
            let measured = statistics::measure(model, (*index, block), hidden, gatherer, &mut |_| {});
            self.session.measured.extend(measured.map_err(plain)?);
        }
        let Some(state) = self.view.states.get(&projection) else { return Err(Error::invalid(name)) };
        let measured = self.session.measured.get(&input);
        let device = &*self.view.model.device;
        let layer = state.data(self.stage, self.view.tensors, device, measured).map_err(of_fault)?;
        self.session.lent.entry(projection).or_default().extend(layer.tensors().map(|tensor| tensor.id));
        Ok(HostReply::Layer(Box::new(layer)))
    }

    fn set(&mut self, name: &str, pruned: PrunedData) -> espalier_sdk::Result<HostReply> {
        if !self.view.can_set {
            return Err(Error::new(Code::Unsupported, "a survey changes nothing: `set` is for block stages"));
        }
        let projection = self.projection(name)?;
        let BlockView { model, block, states, tensors, .. } = &mut *self.view;
        let device = &*model.device;
        let taken = Taken::new(pruned, tensors).map_err(of_fault)?;
        // The old weight goes now: a method that sets a layer many times would otherwise keep them all.
        tensors.take_back(Some(&self.session.lent.remove(&projection).unwrap_or_default()));
        let Some(state) = states.get_mut(&projection) else {
            return Err(Error::invalid(format!("{name} is not to be pruned")));
        };
        state.apply(taken, device).map_err(of_fault)?;
        let linear = block.linear_mut(projection);
        linear.weight = state.in_model(device, linear.weight.dtype()).map_err(plain)?;
        // What was measured behind the old weight is not true any more.
        self.session.measured.retain(|&input, _| input <= projection.input());
        Ok(HostReply::Done)
    }

    fn permute(&mut self, part: Part, order: &[usize]) -> espalier_sdk::Result<HostReply> {
        if !self.view.can_set {
            return Err(Error::new(
                Code::Unsupported,
                "a survey changes nothing: `permute` is for block stages",
            ));
        }
        let BlockView { model, index, block, states, tensors, .. } = &mut *self.view;
        let (device, config) = (&*model.device, &model.config);
        let count = narrow::count(part, config);
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..count) {
            return Err(Error::invalid(format!(
                "that is not an order of the {count} {part:?} of block {index}"
            )));
        }
        let followers: Vec<_> = Projection::ALL
            .into_iter()
            .filter_map(|projection| narrow::group(projection, part, config))
            .collect();
        for Group { projection, .. } in &followers {
            let name = projection.name();
            let is_dense = states.get(projection).map(LayerState::is_dense);
            let obstacle = match is_dense {
                None => "it is not to be pruned",
                Some(false) => "it was pruned already",
                Some(true) if projection.has_bias(config) => "it has a bias",
                Some(true) => continue,
            };
            return Err(Error::invalid(format!("{name} cannot follow another order: {obstacle}")));
        }
        for group in followers {
            tensors.take_back(Some(&self.session.lent.remove(&group.projection).unwrap_or_default()));
            let Some(state) = states.get_mut(&group.projection) else { continue };
            state.permute(device, group, order).map_err(plain)?;
            let linear = block.linear_mut(group.projection);
            linear.weight = state.in_model(device, linear.weight.dtype()).map_err(plain)?;
        }
        // Inputs of what reads them are in another order now.
        self.session.measured.clear();
        Ok(HostReply::Done)
    }

    fn dense_output(&mut self, batch: usize) -> espalier_sdk::Result<HostReply> {
        let BlockView { model, block, hidden, states, tensors, .. } = &mut *self.view;
        let device = &*model.device;
        let mut kept = Vec::with_capacity(states.len());
        for (&projection, state) in states.iter() {
            let linear = block.linear_mut(projection);
            let dense = state.rounded_dense(device, linear.weight.dtype()).map_err(plain)?;
            kept.push((projection, std::mem::replace(&mut linear.weight, dense)));
        }
        let output = hidden.copy(model, batch).and_then(|(batch, mut hidden)| {
            model.forward_block(block, batch, &mut hidden, None)?;
            Ok(hidden)
        });
        for (projection, weight) in kept {
            block.linear_mut(projection).weight = weight;
        }
        Ok(HostReply::Tensor(tensors.give(output.map_err(plain)?)))
    }

    fn forward(
        &mut self,
        batch: usize,
        weights: &[(String, TensorHandle)],
    ) -> espalier_sdk::Result<HostReply> {
        let BlockView { model, block, hidden, tensors, .. } = &mut *self.view;
        let mut candidates = Vec::with_capacity(weights.len());
        for (name, handle) in weights {
            let projection: Projection = name.parse().map_err(|error| Error::invalid(format!("{error}")))?;
            candidates.push((projection, tensors.share(handle.id)?));
        }
        let read: Vec<_> = candidates
            .iter()
            .map(|(projection, tensor)| (*projection, tensor.read().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        let others: Vec<(Projection, &Tensor)> =
            read.iter().map(|(projection, tensor)| (*projection, &**tensor)).collect();
        let (batch, entering) = hidden.copy(model, batch).map_err(plain)?;
        let (tape, output) = model.record(block, batch, entering, &others).map_err(plain)?;
        let number = self.session.next_tape;
        self.session.next_tape += 1;
        self.session.tapes.insert(number, tape);
        let output = self.view.tensors.give(output);
        Ok(HostReply::Tape { tape: number, output })
    }

    fn backward(&mut self, tape: u64, gradient: TensorHandle) -> espalier_sdk::Result<HostReply> {
        let tape = self
            .session
            .tapes
            .remove(&tape)
            .ok_or_else(|| Error::invalid(format!("there is no tape {tape}")))?;
        let BlockView { model, block, tensors, .. } = &mut *self.view;
        let gradient = tensors.share(gradient.id)?;
        let gradient = gradient.read().unwrap_or_else(PoisonError::into_inner);
        let gradients = model.backward(block, tape, &gradient).map_err(plain)?;
        let weights = gradients.weights.into_iter();
        let weights =
            weights.map(|(projection, tensor)| (projection.name().to_owned(), tensors.give(tensor)));
        Ok(HostReply::Gradients { weights: weights.collect(), input: tensors.give(gradients.input) })
    }
}

/// An error as a method sees it.
pub(super) fn plain<E: std::error::Error + 'static>(error: E) -> Error {
    Error::new(Code::Device, causes(&error).join(": "))
}

pub(super) fn of_fault(fault: Fault) -> Error {
    match fault {
        Fault::Method(error) => error,
        Fault::Returned(message) => Error::invalid(message),
        Fault::Device(error) => plain(error),
    }
}

impl From<ModelError> for Fault {
    fn from(error: ModelError) -> Self {
        Self::Method(plain(error))
    }
}
