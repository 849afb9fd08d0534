//! The cache of keys and values: for every block two matrices, in which every sequence has a run of rows.

use crate::{Llama, Result};
use espalier_device::{DType, DeviceError, Tensor};

/// The most bytes that a cache takes, unless one sequence alone needs more.
const CACHE_BYTES: usize = 4 << 30;

/// The keys and values of all sequences that are being written. The sequence in slot `s` has its position
/// `p` in row `s · capacity + p`: its keys lie together, as attention needs them.
pub(super) struct Cache {
    blocks: Vec<(Tensor, Tensor)>,
    slots: usize,
    capacity: usize,
}

/// One block's part of the cache, and where a batch's keys go in it.
pub(crate) struct CachedBlock<'a> {
    /// `[slots · capacity, kv_heads · head_dim]`
    pub(crate) keys: &'a mut Tensor,
    /// Of the same shape.
    pub(crate) values: &'a mut Tensor,
    /// The row of every token of the batch, `[tokens, 1]`, u32.
    pub(crate) places: &'a Tensor,
}

impl Cache {
    /// A cache for `slots` sequences of at most `capacity` tokens each, or for as many as there is memory for.
    pub(super) fn allocate(model: &Llama, slots: usize, capacity: usize) -> Result<Self> {
        let (layers, width) = (model.config.num_hidden_layers, model.config.key_size());
        let slot_bytes = 2 * layers * capacity * width * DType::F32.size();
        let mut slots = slots.min(CACHE_BYTES / slot_bytes.max(1)).max(1);
        loop {
            let matrix = || model.device.zeros(DType::F32, slots * capacity, width);
            let blocks = (0..layers).map(|_| Ok((matrix()?, matrix()?))).collect::<Result<Vec<_>, _>>();
            match blocks {
                Ok(blocks) => return Ok(Self { blocks, slots, capacity }),
                Err(DeviceError::OutOfMemory { .. }) if slots > 1 => slots /= 2,
                Err(error) => return Err(error.into()),
            }
            tracing::info!("there is memory for the keys and values of {slots} sequences at a time");
        }
    }

    /// Sequences there is room for.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Tokens that each sequence has room for.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The row of a sequence's first position.
    pub(super) fn first_row(&self, slot: usize) -> usize {
        slot * self.capacity
    }

    /// A block's part, for a batch whose keys have these places.
    pub(super) fn block<'a>(&'a mut self, index: usize, places: &'a Tensor) -> CachedBlock<'a> {
        let (keys, values) = &mut self.blocks[index];
        CachedBlock { keys, values, places }
    }
}
