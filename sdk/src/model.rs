//! The model as a whole, for methods that decide for all of it: how much each layer loses, or which blocks go.

use crate::{
    Block, Error, Gradients, Result, Run, Sparsity,
    message::{HostCall, HostReply, LayerTarget, ModelData, Part},
    run::misfit,
};
use std::fmt;

/// The model. A method that works on it sets targets and removes blocks; the stages that follow prune.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// # struct Spare;
/// # impl Method for Spare {
/// #     fn info() -> MethodInfo { MethodInfo::new("spare", "…").scope(Scope::Model) }
/// #     fn new(_: &Options) -> Result<Self> { Ok(Self) }
/// fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
///     let blocks = model.blocks();
///     model.survey(|block| {
///         run.progress(block.index(), blocks)?;
///         run.number(format!("first of block {}", block.index()), f64::from(block.input(0)?.to_vec()?[0]))
///     })?;
///     model.set_target(0, None, Sparsity::Ratio(0.25))
/// }
/// # }
/// # fn main() -> Result<()> {
/// # let device = testing::device();
/// # let model = testing::ToyModel::new(&device, device.full(1, 1, 1.0)?, Sparsity::Ratio(0.5));
/// # let mut model = model.block(vec![("up_proj", device.full(1, 1, 4.0)?)])?;
/// # model.run_model(&Spare)?;
/// # assert_eq!(model.targets[&(0, "up_proj".to_owned())], Sparsity::Ratio(0.25));
/// # Ok(())
/// # }
/// ```
pub struct Model<'a> {
    run: &'a Run<'a>,
    data: ModelData,
}

impl fmt::Debug for Model<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Model").field(&self.data).finish()
    }
}

impl<'a> Model<'a> {
    pub(crate) fn new(run: &'a Run<'a>, data: ModelData) -> Self {
        Self { run, data }
    }

    /// Its blocks.
    pub fn blocks(&self) -> usize {
        self.data.blocks
    }

    /// Calibration windows.
    pub fn windows(&self) -> usize {
        self.data.windows
    }

    /// The layers that are to be pruned, in the order of the forward pass, with their targets as of now.
    pub fn layers(&self) -> &[LayerTarget] {
        &self.data.layers
    }

    /// The share of all weights of [`Model::layers`] that their targets take away.
    pub fn sparsity(&self) -> f64 {
        let size = |layer: &LayerTarget| (layer.shape[0] * layer.shape[1]) as f64;
        let all: f64 = self.data.layers.iter().map(size).sum();
        self.data.layers.iter().map(|layer| size(layer) * layer.target.ratio()).sum::<f64>() / all
    }

    /// Goes through the dense model once and shows every block with its layers, statistics, inputs and outputs. Nothing is
    /// changed: [`Block::set`] fails here.
    ///
    /// # Errors
    /// The error of `visit`, or the device failed.
    pub fn survey(&self, mut visit: impl FnMut(&Block) -> Result<()>) -> Result<()> {
        loop {
            match self.run.call(HostCall::Survey)? {
                HostReply::Block(Some(block)) => visit(&Block::new(self.run, block))?,
                HostReply::Block(None) => return Ok(()),
                other => return Err(misfit(&other)),
            }
        }
    }

    /// Goes back through the dense model, from its last block to its first, and shows the gradients of each of the first
    /// `windows` calibration windows' mean cross-entropy per token: in every block, window by window. In memory is one block at
    /// a time. A method that calls this names `gradients` in [`MethodInfo::requires`](crate::MethodInfo::requires), so that
    /// memory is planned for it.
    ///
    /// # Errors
    /// The error of `visit`, or the device failed.
    pub fn gradients(
        &self,
        windows: usize,
        mut visit: impl FnMut(&Block, &Gradients) -> Result<()>,
    ) -> Result<()> {
        loop {
            match self.run.call(HostCall::Gradients { windows })? {
                HostReply::ModelGradients { block, weights, input } => {
                    visit(&Block::new(self.run, block), &Gradients::owned(self.run, weights, input))?;
                }
                HostReply::Block(None) => return Ok(()),
                other => return Err(misfit(&other)),
            }
        }
    }

    /// Sets the target of a layer, or of all layers of a block that are to be pruned.
    ///
    /// # Errors
    /// There is no such layer, or the target does not fit it.
    pub fn set_target(&mut self, block: usize, projection: Option<&str>, target: Sparsity) -> Result<()> {
        let chosen = |layer: &LayerTarget| {
            layer.block == block && projection.is_none_or(|projection| layer.projection == projection)
        };
        if !self.data.layers.iter().any(chosen) {
            let what = projection.unwrap_or("any layer");
            return Err(Error::invalid(format!("{what} of block {block} is not to be pruned")));
        }
        let projection_name = projection.map(str::to_owned);
        self.run.call(HostCall::SetTarget { block, projection: projection_name, target })?;
        self.data.layers.iter_mut().filter(|layer| chosen(layer)).for_each(|layer| layer.target = target);
        Ok(())
    }

    /// Sets how many weights of each row of a layer are to be pruned. Together they become the layer's target.
    ///
    /// Methods that prune row by row heed them; the host refuses a layer from which another number of weights has gone in all,
    /// and notes rows from which another number has.
    ///
    /// # Errors
    /// There is no such layer, or a count that is missing or above the number of columns.
    pub fn set_row_counts(&mut self, block: usize, projection: &str, counts: &[usize]) -> Result<()> {
        let chosen = |layer: &&mut LayerTarget| layer.block == block && layer.projection == projection;
        let Some(layer) = self.data.layers.iter_mut().find(chosen) else {
            return Err(Error::invalid(format!("{projection} of block {block} is not to be pruned")));
        };
        self.run.call(HostCall::SetRowCounts {
            block,
            projection: projection.to_owned(),
            counts: counts.to_vec(),
        })?;
        layer.target = LayerTarget::of_rows(layer.shape, counts);
        Ok(())
    }

    /// The mean cross-entropy per token, over the first `windows` calibration windows, of the model that the stages that
    /// follow prune to these targets. Layers that are not named keep theirs. Nothing is kept. Statistics are taken behind
    /// pruned predecessors, also in a run without propagation.
    ///
    /// # Errors
    /// No stage follows, a target does not fit, or pruning fails.
    pub fn trial(&self, targets: &[LayerTarget], windows: usize) -> Result<f64> {
        let targets = targets.iter().map(|layer| (layer.block, layer.projection.clone(), layer.target));
        match self.run.call(HostCall::Trial { targets: targets.collect(), windows })? {
            HostReply::Number(loss) => Ok(loss),
            other => Err(misfit(&other)),
        }
    }

    /// Neurons of each block's feed-forward network.
    pub fn neurons(&self) -> usize {
        self.data.neurons
    }

    /// Key and value heads of each block. Features of query heads in the order of the columns of `o_proj`:
    /// [`queries_per_head`](Model::queries_per_head) · [`head_dim`](Model::head_dim) belong to each of them.
    pub fn heads(&self) -> usize {
        self.data.heads
    }

    /// Query heads that read each key and value head.
    pub fn queries_per_head(&self) -> usize {
        self.data.queries_per_head
    }

    /// Features of a head.
    pub fn head_dim(&self) -> usize {
        self.data.head_dim
    }

    /// Lets only these neurons or heads of a block stay, by their indices in ascending order. The weights that read and write
    /// the others are left out of the model that the stages behind see, and that is written. In the end all blocks must keep
    /// equally many, because a configuration has one width for all, and query heads that divide the hidden size, because
    /// transformers refuses another LLaMA.
    ///
    /// # Errors
    /// There is no such block, or the indices are none, do not ascend, or are not there.
    pub fn keep(&mut self, block: usize, part: Part, kept: &[usize]) -> Result<()> {
        self.run.call(HostCall::Keep { block, part, kept: kept.to_vec() }).map(drop)
    }

    /// Removes a block: the model that is written has one fewer.
    ///
    /// # Errors
    /// There is no such block, or it is the last one left.
    pub fn remove(&mut self, block: usize) -> Result<()> {
        self.run.call(HostCall::Remove { block })?;
        self.data.layers.retain(|layer| layer.block != block);
        Ok(())
    }
}
