//! Gradients of the dense model's loss, block by block from the last to the first, window by window. What is in memory is one
//! block and the states of a window; what enters blocks is computed again from every few blocks, so that the states that are
//! kept grow with the square root of the number of blocks.

use super::{MemoryPlan, Plan, PruneError, Result, plan, weights};
use espalier_base::{interrupt, profile};
use espalier_device::{Binary, DType, Device, Op, Tensor, Unary};
use espalier_model::{
    Block, BlockGradients, HiddenStates, Llama, ModelError, Placement, Window, hidden::SpillFile,
    layout::Projection,
};
use espalier_plugins::Shared;
use espalier_sdk::Statistic;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock},
};

/// A way back through the model.
pub(super) struct WayBack {
    removed: BTreeSet<usize>,
    /// From one block whose entering states are kept for the whole way to the next.
    stride: usize,
    /// The states that enter these blocks.
    entering: BTreeMap<usize, HiddenStates>,
    /// The gradients by what leaves the block that is next.
    leaving: HiddenStates,
    placement: Placement,
    /// The block that was last.
    last: usize,
}

/// A block on the way back.
pub(super) struct Stop {
    pub(super) index: usize,
    pub(super) block: Block,
    /// What enters it, a batch for every window.
    pub(super) hidden: HiddenStates,
}

impl WayBack {
    /// Runs the windows through the dense model up to its loss.
    pub(super) fn start(
        model: &Llama,
        windows: &[Window],
        memory: &MemoryPlan,
        removed: &BTreeSet<usize>,
    ) -> Result<Self> {
        let blocks = model.config.num_hidden_layers;
        let stride = blocks.isqrt().max(1);
        let tokens: usize = windows.iter().map(|window| window.len()).sum();
        let sets = (blocks.div_ceil(stride) + stride + 1) as u64;
        let placement = memory.beside(sets * (tokens * model.config.hidden_size * size_of::<f32>()) as u64);
        let mut leaving = HiddenStates::embed(model, windows, 1, &placement)?;
        let mut entering = BTreeMap::new();
        model.each_block(0..blocks, false, |index, block| {
            interrupt::check()?;
            weights::check_block(model, index)?;
            if index.is_multiple_of(stride) {
                entering.insert(index, leaving.duplicate(model, &placement)?);
            }
            if !removed.contains(&index) {
                leaving.advance(model, block, |_| {})?;
            }
            Ok::<_, PruneError>(())
        })?;
        let head = model.load_head()?;
        leaving.update(model, |batch, states| {
            *states = model.loss_gradient(&head, batch, states)?;
            Ok::<_, ModelError>(())
        })?;
        Ok(Self { removed: removed.clone(), stride, entering, leaving, placement, last: blocks })
    }

    /// Goes to the block before; none at the beginning.
    pub(super) fn previous(&mut self, model: &Llama) -> Result<Option<Stop>> {
        let Some(index) = (0..self.last).rev().find(|block| !self.removed.contains(block)) else {
            return Ok(None);
        };
        self.entering.retain(|&block, _| block <= index);
        let from = index - index % self.stride;
        let known = (from..=index).rev().find(|block| self.entering.contains_key(block)).unwrap_or(from);
        if known < index {
            let placement = &self.placement;
            let Some(kept) = self.entering.get(&known) else { unreachable!("one of every few is kept") };
            let mut states = kept.duplicate(model, placement)?;
            model.each_block(known..index, false, |block, weights| {
                if !self.removed.contains(&block) {
                    states.advance(model, weights, |_| {})?;
                }
                self.entering.insert(block + 1, states.duplicate(model, placement)?);
                Ok::<_, PruneError>(())
            })?;
        }
        let Some(hidden) = self.entering.remove(&index) else {
            unreachable!("it is kept, or was made again")
        };
        self.last = index;
        Ok(Some(Stop { index, block: model.load_block(index)?, hidden }))
    }

    /// The gradients of a window's mean loss per token by a block's weights. Each window is asked for once.
    pub(super) fn window(
        &mut self,
        model: &Llama,
        block: &Block,
        hidden: &HiddenStates,
        window: usize,
    ) -> Result<BlockGradients> {
        let (batch, hidden) = hidden.copy(model, window)?;
        let (_, leaving) = self.leaving.copy(model, window)?;
        let (tape, _) = model.record(block, batch, hidden, &[])?;
        let gradients = model.backward(block, tape, &leaving)?;
        self.leaving.replace(model, window, &gradients.input)?;
        Ok(gradients)
    }
}

/// `Σ g²` of every weight over the windows, on the disk: [`GradientSquares`](espalier_sdk::Statistic::GradientSquares).
pub(super) struct GradientSquares {
    file: SpillFile,
    places: BTreeMap<(usize, Projection), u64>,
}

impl GradientSquares {
    /// Takes them of the layers of these plans, if a stage of theirs needs them.
    pub(super) fn needed(
        model: &Llama,
        plans: &[Plan],
        windows: &[Window],
        memory: &MemoryPlan,
        removed: &BTreeSet<usize>,
    ) -> Result<Option<Self>> {
        if !plan::needed(plans).contains(&Statistic::GradientSquares) {
            return Ok(None);
        }
        let _stage = profile::stage(|| "gradients of the model".to_owned());
        let device = &*model.device;
        let file = SpillFile::create(&memory.spill).map_err(ModelError::from)?;
        let (mut places, mut end) = (BTreeMap::new(), 0);
        let mut way = WayBack::start(model, windows, memory, removed)?;
        while let Some(stop) = way.previous(model)? {
            let is_wanted =
                |projection| plans.iter().any(|plan| plan.targets.of(stop.index, projection).is_some());
            let mut sums: BTreeMap<Projection, Tensor> = BTreeMap::new();
            for window in 0..windows.len() {
                interrupt::check()?;
                for (projection, gradient) in way.window(model, &stop.block, &stop.hidden, window)?.weights {
                    if is_wanted(projection) {
                        add_squares(device, &mut sums, projection, &gradient)?;
                    }
                }
            }
            for (projection, sum) in sums {
                let bytes = device.read(&sum).map_err(ModelError::from)?;
                file.write(end, &bytes).map_err(ModelError::from)?;
                places.insert((stop.index, projection), end);
                end += bytes.len() as u64;
            }
        }
        Ok(Some(Self { file, places }))
    }

    /// Those of a layer, `[out_features, in_features]`.
    pub(super) fn of(&self, model: &Llama, block: usize, projection: Projection) -> Result<Option<Shared>> {
        let Some(&offset) = self.places.get(&(block, projection)) else { return Ok(None) };
        let (rows, cols) = projection.shape(&model.config);
        let bytes = self.file.read(offset, rows * cols * size_of::<f32>()).map_err(ModelError::from)?;
        let uploaded = model.device.upload(DType::F32, rows, cols, bytes.into());
        Ok(Some(Arc::new(RwLock::new(uploaded.map_err(ModelError::from)?))))
    }
}

fn add_squares(
    device: &dyn Device,
    sums: &mut BTreeMap<Projection, Tensor>,
    projection: Projection,
    gradient: &Tensor,
) -> Result<(), ModelError> {
    let mut sum = device.zeros(DType::F32, gradient.rows(), gradient.cols())?;
    match sums.get(&projection) {
        Some(before) => {
            let op = Op::Zip { a: gradient, b: before, f: Unary::Square, op: Binary::Add, alpha: 1.0 };
            device.execute(op, &mut sum)?;
        }
        None => {
            device.execute(Op::Map { x: gradient, f: Unary::Square, scale: 1.0, shift: 0.0 }, &mut sum)?
        }
    }
    sums.insert(projection, sum);
    Ok(())
}
