//! A block of the model, for methods that work on one as a whole.

use crate::{
    Layer, Pruned, Result, Run, Tensor,
    message::{BlockData, HostCall, HostReply, Part, TensorHandle},
    run::misfit,
};
use std::fmt;

/// A transformer block: its layers, the hidden states that enter it, and what the dense block makes of them. Nothing but one
/// batch at a time is in memory.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// # struct Halve;
/// # impl Method for Halve {
/// #     fn info() -> MethodInfo { MethodInfo::new("halve", "…").scope(Scope::Block) }
/// #     fn new(_: &Options) -> Result<Self> { Ok(Self) }
/// fn block(&self, block: &mut Block, run: &Run) -> Result<()> {
///     for projection in block.layers().to_vec() {
///         let layer = block.layer(&projection)?;
///         let half = run.device().affine(Unary::Identity, &layer.weight, 0.5, 0.0)?;
///         block.set(&projection, half)?;
///     }
///     let output = block.forward(0, &[])?;
///     run.number("norm", f64::from(output.output().to_vec()?[0]).abs())
/// }
/// # }
/// # fn main() -> Result<()> {
/// # let device = testing::device();
/// # let model = testing::ToyModel::new(&device, device.full(1, 1, 1.0)?, Sparsity::Ratio(0.5));
/// # let mut model = model.block(vec![("up_proj", device.full(1, 1, 4.0)?)])?;
/// # model.run_block(&Halve, 0)?;
/// # assert_eq!(model.numbers["norm"], 2.0);
/// # Ok(())
/// # }
/// ```
pub struct Block<'a> {
    run: &'a Run<'a>,
    data: BlockData,
}

impl fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Block").field(&self.data).finish()
    }
}

impl<'a> Block<'a> {
    pub(crate) fn new(run: &'a Run<'a>, data: BlockData) -> Self {
        Self { run, data }
    }

    /// Its index, from 0.
    pub fn index(&self) -> usize {
        self.data.index
    }

    /// The names of the layers that are to be pruned, such as `q_proj`, in the order of the forward pass.
    pub fn layers(&self) -> &[String] {
        &self.data.layers
    }

    /// A layer as it is now, with the statistics that [`MethodInfo::needs`](crate::MethodInfo::needs) asked for. Its tensors can
    /// be read until the layer is [set](Block::set) or the method returns.
    ///
    /// # Errors
    /// The block has no such layer, or it is not to be pruned.
    pub fn layer(&self, projection: &str) -> Result<Layer> {
        match self.run.call(HostCall::Layer { projection: projection.to_owned() })? {
            HostReply::Layer(layer) => Layer::lent(*layer, self.run.device()),
            other => Err(misfit(&other)),
        }
    }

    /// Replaces a layer's weight.
    ///
    /// # Errors
    /// A weight or mask of another shape. Entries that are NaN or infinite are refused when the method returns.
    pub fn set(&mut self, projection: &str, pruned: impl Into<Pruned>) -> Result<()> {
        let pruned = pruned.into().into_data()?;
        self.run.call(HostCall::Set { projection: projection.to_owned(), pruned }).map(drop)
    }

    /// Puts the block's neurons, or its key and value heads with the query heads that read them, into another order: `order[i]` is
    /// the place that the i-th comes from. Every layer that writes or reads them follows, so that the block computes what it did
    /// before, and the columns of `down_proj`, or of `o_proj`, lie in other groups for patterns such as 2:4. The layers are then
    /// as if the checkpoint had them in this order; what was lent of them before is void.
    ///
    /// # Errors
    /// The order is not one of all of them, a layer that must follow is not to be pruned or was pruned already, or has a bias.
    pub fn permute(&mut self, part: Part, order: &[usize]) -> Result<()> {
        self.run.call(HostCall::Permute { part, order: order.to_vec() }).map(drop)
    }

    /// How many batches of calibration tokens there are.
    pub fn batches(&self) -> usize {
        self.data.batches
    }

    /// The hidden states `[tokens, hidden_size]` that enter the block, behind what is pruned already.
    ///
    /// # Errors
    /// There is no such batch; so for every batch.
    pub fn input(&self, batch: usize) -> Result<Tensor> {
        self.tensor(HostCall::BlockInput { batch })
    }

    /// The hidden states `[tokens, hidden_size]` that the dense block makes of [`Block::input`].
    ///
    /// # Errors
    /// As [`Block::input`].
    pub fn dense_output(&self, batch: usize) -> Result<Tensor> {
        self.tensor(HostCall::DenseOutput { batch })
    }

    /// How much each token of a batch counts in a loss, `[tokens, 1]`: 1, unless the calibration data has a loss mask.
    ///
    /// # Errors
    /// As [`Block::input`].
    pub fn token_weights(&self, batch: usize) -> Result<Tensor> {
        self.tensor(HostCall::TokenWeights { batch })
    }

    /// Runs the block with its present weights, or with others for some layers, and keeps what
    /// [`Tape::backward`] needs.
    ///
    /// # Errors
    /// There is no such batch or layer, or a weight has another shape.
    pub fn forward(&self, batch: usize, weights: &[(&str, &Tensor)]) -> Result<Tape<'a>> {
        let weights = weights.iter().map(|(name, weight)| ((*name).to_owned(), weight.handle())).collect();
        match self.run.call(HostCall::Forward { batch, weights })? {
            HostReply::Tape { tape, output } => {
                Ok(Tape { run: self.run, tape, output: owned(self.run, output), ended: false })
            }
            other => Err(misfit(&other)),
        }
    }

    fn tensor(&self, call: HostCall) -> Result<Tensor> {
        match self.run.call(call)? {
            HostReply::Tensor(tensor) => Ok(owned(self.run, tensor)),
            other => Err(misfit(&other)),
        }
    }
}

/// A tensor that the host made for the method, which frees it.
fn owned(run: &Run, handle: TensorHandle) -> Tensor {
    run.device().known(handle, true)
}

/// A forward pass through a block.
///
/// ```
/// # use espalier_sdk::*;
/// /// The gradients of half the squared distance from the dense block's output.
/// fn gradients(block: &Block, batch: usize, device: &Device) -> Result<Gradients> {
///     let tape = block.forward(batch, &[])?;
///     let difference = device.axpy(tape.output(), -1.0, &block.dense_output(batch)?)?;
///     tape.backward(&difference)
/// }
/// ```
pub struct Tape<'a> {
    run: &'a Run<'a>,
    tape: u64,
    output: Tensor,
    ended: bool,
}

impl fmt::Debug for Tape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Tape").field("output", &self.output).finish_non_exhaustive()
    }
}

impl Tape<'_> {
    /// The hidden states that leave the block, `[tokens, hidden_size]`.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// The gradients of a loss, given its gradient by [`Tape::output`].
    ///
    /// # Errors
    /// The gradient has another shape, or the device failed.
    pub fn backward(mut self, gradient: &Tensor) -> Result<Gradients> {
        self.ended = true;
        match self.run.call(HostCall::Backward { tape: self.tape, gradient: gradient.handle() })? {
            HostReply::Gradients { weights, input } => Ok(Gradients::owned(self.run, weights, input)),
            other => Err(misfit(&other)),
        }
    }
}

impl Drop for Tape<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // A tape that the host does not drop now ends with the call.
            let _ = self.run.call(HostCall::DropTape { tape: self.tape });
        }
    }
}

/// The gradients of a loss.
#[derive(Debug)]
pub struct Gradients {
    weights: Vec<(String, Tensor)>,
    input: Tensor,
}

impl Gradients {
    /// Those that the host made for the method.
    pub(crate) fn owned(run: &Run, weights: Vec<(String, TensorHandle)>, input: TensorHandle) -> Self {
        let weights = weights.into_iter().map(|(name, tensor)| (name, owned(run, tensor)));
        Self { weights: weights.collect(), input: owned(run, input) }
    }

    /// By a layer's weight, `[out_features, in_features]`.
    ///
    /// # Errors
    /// The block has no such layer.
    pub fn weight(&self, projection: &str) -> Result<&Tensor> {
        let found = self.weights.iter().find(|(name, _)| name == projection);
        let missing = || crate::Error::invalid(format!("there is no gradient by a layer `{projection}`"));
        found.map(|(_, gradient)| gradient).ok_or_else(missing)
    }

    /// By the hidden states that entered the block, `[tokens, hidden_size]`.
    pub fn input(&self) -> &Tensor {
        &self.input
    }
}
