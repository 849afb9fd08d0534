//! One block after the other: the way through a model that is never on the device as a whole.

use super::{Block, Llama, ModelError, layout};
use espalier_base::profile;
use std::{
    ops::Range,
    panic,
    thread::{self, Scope, ScopedJoinHandle},
};

type Loading<'scope> = ScopedJoinHandle<'scope, Result<Block, ModelError>>;

impl Llama {
    /// Lends every block in turn, loaded onto the device and released after. With `ahead`, the next one is loaded in the
    /// background meanwhile, so that two are on the device. Where it does not fit, it is loaded in its turn, and so are
    /// those after it.
    ///
    /// # Errors
    /// A block that cannot be loaded, in its turn, or what `visit` returns.
    pub fn each_block<E: From<ModelError>>(
        &self,
        blocks: Range<usize>,
        mut ahead: bool,
        mut visit: impl FnMut(usize, &mut Block) -> Result<(), E>,
    ) -> Result<(), E> {
        thread::scope(|scope| {
            let mut loading: Option<Loading> = None;
            for index in blocks.clone() {
                let _block = profile::stage(|| format!("block {index}"));
                let loaded = loading.take().map(finish);
                let mut block = match loaded {
                    Some(Err(error)) if error.is_out_of_memory() => {
                        tracing::info!(
                            "no room for two blocks: each is loaded when the one before it is done"
                        );
                        ahead = false;
                        self.load_block(index)?
                    }
                    Some(loaded) => loaded?,
                    None => self.load_block(index)?,
                };
                if ahead && index + 1 < blocks.end {
                    loading = Some(self.load_behind(scope, index + 1)?);
                }
                visit(index, &mut block)?;
                drop(block);
                self.release_block(index);
            }
            Ok(())
        })
    }

    fn load_behind<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        index: usize,
    ) -> Result<Loading<'scope>, ModelError> {
        let load = move || {
            profile::background("loader");
            let _load = profile::stage(|| format!("load block {index}"));
            self.load_block(index)
        };
        let thread = thread::Builder::new().name("loader".to_owned());
        thread.spawn_scoped(scope, load).map_err(ModelError::Thread)
    }

    /// The bytes of the largest block's weights.
    pub fn block_bytes(&self) -> u64 {
        let bytes_of = |name: &str| self.checkpoint.tensor_bytes(name) as u64;
        let block = |index| layout::block(&self.config, index).iter().map(|(name, _)| bytes_of(name)).sum();
        (0..self.config.num_hidden_layers).map(block).max().unwrap_or(0)
    }

    /// Blocks that the checkpoint has beyond those that the configuration counts.
    pub fn blocks_left_out(&self) -> Option<Range<usize>> {
        let used = self.config.num_hidden_layers;
        let blocks = self.checkpoint.names().filter_map(layout::Projection::parse).map(|(block, _)| block);
        let last = blocks.max().filter(|&last| last >= used)?;
        Some(used..last + 1)
    }

    /// Whether the device is sure to hold two blocks beside the hidden states of so many tokens: where it has twice as
    /// much, because activations and other programs take their part.
    pub fn has_room_ahead(&self, tokens: usize) -> bool {
        let hidden = (tokens * self.config.hidden_size * size_of::<f32>()) as u64;
        let needed = 2 * self.block_bytes() + hidden;
        self.device.info().memory_bytes.is_some_and(|bytes| needed <= bytes / 2)
    }
}

/// Waits for a block.
fn finish(loading: Loading) -> Result<Block, ModelError> {
    let _wait = profile::wait("wait for the next block");
    loading.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}
