//! A toy model for methods that work on blocks or on the model: every block is a chain of linear layers, without anything
//! between them, so that its outputs and gradients can be followed by hand.

use super::{layer, unsupported};
use crate::{
    Block, DType, Device, Error, Layer, Mask, Method, Model, Pruned, Result, Run, Sparsity, Tensor, Unary,
    message::{
        BlockData, HostCall, HostReply, HostService, LayerTarget, ModelData, PrunedData, TensorHandle,
    },
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// A toy model: blocks of linear layers in a chain, `x W₁ᵀ W₂ᵀ …`, and one batch of inputs.
#[derive(Debug)]
pub struct ToyModel {
    device: Device,
    input: Tensor,
    target: Sparsity,
    blocks: Vec<Vec<ToyLayer>>,
    /// The targets that were set.
    pub targets: BTreeMap<(usize, String), Sparsity>,
    /// The counts of rows that were set.
    pub row_counts: BTreeMap<(usize, String), Vec<usize>>,
    /// The blocks that were removed.
    pub removed: Vec<usize>,
    /// The numbers that were given.
    pub numbers: BTreeMap<String, f64>,
}

#[derive(Debug)]
struct ToyLayer {
    name: String,
    dense: Tensor,
    weight: Tensor,
    mask: Option<Mask>,
}

impl ToyModel {
    /// A model without blocks that these inputs `[tokens, features]` enter.
    pub fn new(device: &Device, input: Tensor, target: Sparsity) -> Self {
        Self {
            device: device.clone(),
            input,
            target,
            blocks: Vec::new(),
            targets: BTreeMap::new(),
            row_counts: BTreeMap::new(),
            removed: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// Adds a block of layers with these names and weights.
    ///
    /// # Errors
    /// The device failed.
    pub fn block(mut self, layers: Vec<(&str, Tensor)>) -> Result<Self> {
        let layer = |(name, dense): (&str, Tensor)| {
            let weight = self.device.map(Unary::Identity, &dense)?;
            Ok(ToyLayer { name: name.to_owned(), dense, weight, mask: None })
        };
        let layers = layers.into_iter().map(layer).collect::<Result<_>>()?;
        self.blocks.push(layers);
        Ok(self)
    }

    /// Prunes every layer of a block to these masks before a method sees it, as a stage before it would.
    ///
    /// # Errors
    /// There is no such block, or the device failed.
    pub fn prune_before(&mut self, block: usize, method: &impl Method) -> Result<()> {
        let names: Vec<_> = self.layers(block)?.iter().map(|layer| layer.name.clone()).collect();
        for name in names {
            let layer = self.layer(block, &name)?;
            let pruned = super::prune(method, &layer, &self.device)?;
            drop(layer);
            let layer = self.find(block, &name)?;
            layer.weight = pruned.weight;
            layer.mask = pruned.mask;
        }
        Ok(())
    }

    /// Has a method work on a block.
    ///
    /// # Errors
    /// The method's error, or what the host would refuse.
    pub fn run_block(&mut self, method: &impl Method, block: usize) -> Result<()> {
        let layers = self.layers(block)?.iter().map(|layer| layer.name.clone()).collect();
        let data = BlockData { index: block, layers, batches: 1 };
        let device = self.device.clone();
        let host = ToyHost(Mutex::new(Session::new(self, Some(block))));
        let run = Run::new(device, &host, 0);
        method.block(&mut Block::new(&run, data), &run)
    }

    /// Has a method decide for the model.
    ///
    /// # Errors
    /// As [`ToyModel::run_block`].
    pub fn run_model(&mut self, method: &impl Method) -> Result<()> {
        let mut layers = Vec::new();
        for (block, of_block) in self.blocks.iter().enumerate() {
            for layer in of_block {
                let shape = [layer.dense.rows(), layer.dense.cols()];
                let (projection, target) = (layer.name.clone(), self.target);
                layers.push(LayerTarget { block, projection, shape, target });
            }
        }
        let data = ModelData {
            blocks: self.blocks.len(),
            windows: 1,
            neurons: 0,
            heads: 0,
            queries_per_head: 0,
            head_dim: 0,
            layers,
        };
        let device = self.device.clone();
        let host = ToyHost(Mutex::new(Session::new(self, None)));
        let run = Run::new(device, &host, 0);
        method.model(&mut Model::new(&run, data), &run)
    }

    /// The weight of a layer as it is now.
    ///
    /// # Errors
    /// There is no such layer.
    pub fn weight(&self, block: usize, name: &str) -> Result<&Tensor> {
        let found = self.layers(block)?.iter().find(|layer| layer.name == name);
        found.map(|layer| &layer.weight).ok_or_else(|| missing(block, name))
    }

    fn layers(&self, block: usize) -> Result<&[ToyLayer]> {
        self.blocks.get(block).map(Vec::as_slice).ok_or_else(|| missing(block, "any layer"))
    }

    fn find(&mut self, block: usize, name: &str) -> Result<&mut ToyLayer> {
        let layers = self.blocks.get_mut(block).into_iter().flatten();
        layers.into_iter().find(|layer| layer.name == name).ok_or_else(|| missing(block, name))
    }

    /// What enters a block.
    fn entering(&self, block: usize) -> Result<Tensor> {
        let mut x = self.device.map(Unary::Identity, &self.input)?;
        for layer in self.blocks[..block].iter().flatten() {
            x = self.product(&x, &layer.weight)?;
        }
        Ok(x)
    }

    /// `x Wᵀ`
    fn product(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let mut y = self.device.zeros(DType::F32, x.rows(), weight.rows())?;
        self.device.matmul(1.0, x.view(), weight.view().t(), 0.0, y.view_mut())?;
        Ok(y)
    }

    /// A layer with the statistics of its input.
    fn layer(&self, block: usize, name: &str) -> Result<Layer> {
        let mut x = self.entering(block)?;
        for toy in self.layers(block)? {
            if toy.name == name {
                let weight = self.device.map(Unary::Identity, &toy.weight)?;
                let target = self.targets.get(&(block, name.to_owned())).copied().unwrap_or(self.target);
                let mut layer = layer(&self.device, weight, x, target)?;
                layer.dense = toy.dense.shared();
                (layer.block, layer.projection) = (block, name.to_owned());
                let mask = toy.mask.as_ref();
                layer.mask = mask.map(|mask| Mask::of(mask.words.shared(), mask.cols)).transpose()?;
                return Ok(layer);
            }
            x = self.product(&x, &toy.weight)?;
        }
        Err(missing(block, name))
    }
}

fn missing(block: usize, name: &str) -> Error {
    Error::invalid(format!("{name} of block {block} is not to be pruned"))
}

/// The toy model as a host.
struct ToyHost<'a>(Mutex<Session<'a>>);

struct Session<'a> {
    model: &'a mut ToyModel,
    /// The block that is worked on, or surveyed.
    block: Option<usize>,
    /// Of each forward pass, the inputs of every layer and the weights.
    tapes: Vec<Vec<(String, Tensor, Tensor)>>,
    /// What the method reads until its call ends.
    layers: Vec<Layer>,
}

impl<'a> Session<'a> {
    fn new(model: &'a mut ToyModel, block: Option<usize>) -> Self {
        Self { model, block, tapes: Vec::new(), layers: Vec::new() }
    }
}

impl HostService for ToyHost<'_> {
    fn call(&self, call: HostCall) -> Result<HostReply> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).call(call)
    }
}

impl Session<'_> {
    fn call(&mut self, call: HostCall) -> Result<HostReply> {
        let device = self.model.device.clone();
        let block =
            || self.block.ok_or_else(|| Error::invalid("a block's functions are for the time of a survey"));
        Ok(match call {
            HostCall::Log { .. } | HostCall::Progress { .. } => HostReply::Done,
            HostCall::Number { name, value } => {
                self.model.numbers.insert(name, value);
                HostReply::Done
            }
            HostCall::Layer { projection } => {
                let layer = self.model.layer(block()?, &projection)?;
                let data = layer.data();
                self.layers.push(layer);
                HostReply::Layer(Box::new(data))
            }
            HostCall::Set { projection, pruned } => {
                let at = block()?;
                self.set(at, &projection, pruned)?;
                HostReply::Done
            }
            HostCall::BlockInput { .. } => HostReply::Tensor(self.model.entering(block()?)?.give()),
            HostCall::TokenWeights { .. } => {
                let tokens = self.model.entering(block()?)?.rows();
                HostReply::Tensor(device.full(tokens, 1, 1.0)?.give())
            }
            HostCall::DenseOutput { .. } => {
                let mut x = self.model.entering(block()?)?;
                for layer in self.model.layers(block()?)? {
                    x = self.model.product(&x, &layer.dense)?;
                }
                HostReply::Tensor(x.give())
            }
            HostCall::Forward { weights, .. } => {
                let at = block()?;
                self.forward(at, &weights)?
            }
            HostCall::Backward { tape, gradient } => self.backward(tape, gradient, &device)?,
            HostCall::DropTape { .. } => HostReply::Done,
            HostCall::Survey => {
                let next = self.block.map_or(0, |block| block + 1);
                self.block = (next < self.model.blocks.len()).then_some(next);
                HostReply::Block(match self.block {
                    Some(index) => {
                        let names = self.model.layers(index)?.iter().map(|layer| layer.name.clone());
                        Some(BlockData { index, layers: names.collect(), batches: 1 })
                    }
                    None => None,
                })
            }
            HostCall::SetTarget { block, projection, target } => {
                let names: Vec<_> =
                    self.model.layers(block)?.iter().map(|layer| layer.name.clone()).collect();
                for name in
                    names.into_iter().filter(|name| projection.as_ref().is_none_or(|only| only == name))
                {
                    self.model.targets.insert((block, name), target);
                }
                HostReply::Done
            }
            HostCall::SetRowCounts { block, projection, counts } => {
                let layers = self.model.layers(block)?;
                let layer = layers.iter().find(|layer| layer.name == projection);
                let shape = layer.map_or([counts.len(), 1], |layer| [layer.dense.rows(), layer.dense.cols()]);
                let target = LayerTarget::of_rows(shape, &counts);
                self.model.targets.insert((block, projection.clone()), target);
                self.model.row_counts.insert((block, projection), counts);
                HostReply::Done
            }
            HostCall::Remove { block } => {
                self.model.removed.push(block);
                HostReply::Done
            }
            other => return Err(unsupported(other.name())),
        })
    }

    fn set(&mut self, block: usize, name: &str, pruned: PrunedData) -> Result<()> {
        let device = self.model.device.clone();
        let lent: Vec<_> = self.layers.iter().map(Layer::data).collect();
        let layer = self.model.find(block, name)?;
        let Pruned { weight, mask, .. } = Pruned::from_data(pruned, &device, layer.weight.cols(), &lent)?;
        let weight = weight.map_or_else(|| device.map(Unary::Identity, &layer.weight), Ok)?;
        if (weight.rows(), weight.cols()) != (layer.dense.rows(), layer.dense.cols()) {
            return Err(Error::invalid(format!("{weight:?} is set for {name}")));
        }
        layer.weight = match &mask {
            Some(mask) => device.zero_where(mask, &weight)?,
            None => weight,
        };
        layer.mask = mask;
        Ok(())
    }

    fn forward(&mut self, block: usize, weights: &[(String, TensorHandle)]) -> Result<HostReply> {
        let device = self.model.device.clone();
        let mut x = self.model.entering(block)?;
        let mut tape = Vec::new();
        for layer in self.model.layers(block)? {
            let other = weights.iter().find(|(name, _)| *name == layer.name);
            let weight = match other {
                Some((_, handle)) => device.map(Unary::Identity, &device.known(*handle, false))?,
                None => device.map(Unary::Identity, &layer.weight)?,
            };
            let y = self.model.product(&x, &weight)?;
            tape.push((layer.name.clone(), x, weight));
            x = y;
        }
        self.tapes.push(tape);
        Ok(HostReply::Tape { tape: self.tapes.len() as u64 - 1, output: x.give() })
    }

    fn backward(&mut self, tape: u64, gradient: TensorHandle, device: &Device) -> Result<HostReply> {
        let tape = self.tapes.get_mut(tape as usize).map(std::mem::take);
        let tape = tape.ok_or_else(|| Error::invalid("there is no such tape"))?;
        let mut dy = device.map(Unary::Identity, &device.known(gradient, false))?;
        let mut weights = Vec::new();
        for (name, x, weight) in tape.into_iter().rev() {
            let mut dw = device.zeros(DType::F32, weight.rows(), weight.cols())?;
            device.matmul(1.0, dy.view().t(), x.view(), 0.0, dw.view_mut())?;
            let mut dx = device.zeros(DType::F32, x.rows(), x.cols())?;
            device.matmul(1.0, dy.view(), weight.view(), 0.0, dx.view_mut())?;
            weights.push((name, dw.give()));
            dy = dx;
        }
        Ok(HostReply::Gradients { weights, input: dy.give() })
    }
}
