//! The hidden states of a set of windows between two blocks.

use super::{Batch, Block, Llama, Result};
use crate::{device::Tensor, interrupt};
use std::ops::ControlFlow;

/// The hidden states of all windows, batch by batch, as they enter a block.
pub struct HiddenStates {
    batches: Vec<(Batch, Tensor)>,
}

impl HiddenStates {
    /// The embeddings of the windows, in batches of about `max_tokens` tokens.
    ///
    /// # Errors
    /// A token outside the vocabulary, or a failing device.
    pub fn embed(model: &Llama, windows: &[&[u32]], max_tokens: usize) -> Result<Self> {
        let batches = model.batches(windows, max_tokens)?;
        let batches = batches.into_iter().map(|batch| {
            let hidden = model.embed(&batch)?;
            Ok((batch, hidden))
        });
        Ok(Self { batches: batches.collect::<Result<_>>()? })
    }

    /// All tokens.
    pub fn tokens(&self) -> usize {
        self.batches.iter().map(|(batch, _)| batch.tokens.len()).sum()
    }

    /// The batches and their hidden states.
    pub fn batches(&self) -> impl Iterator<Item = (&Batch, &Tensor)> {
        self.batches.iter().map(|(batch, hidden)| (batch, hidden))
    }

    /// The batches and their hidden states, to be advanced.
    pub fn batches_mut(&mut self) -> impl Iterator<Item = (&Batch, &mut Tensor)> {
        self.batches.iter_mut().map(|(batch, hidden)| (&*batch, hidden))
    }

    /// Runs every batch through a block.
    ///
    /// # Errors
    /// A failing device, or an interrupt.
    pub fn advance(&mut self, model: &Llama, block: &Block, mut progress: impl FnMut(usize)) -> Result<()> {
        for (batch, hidden) in &mut self.batches {
            interrupt::check()?;
            model.forward_block(block, batch, hidden, &mut |_, _| Ok(ControlFlow::Continue(())))?;
            progress(batch.tokens.len());
        }
        Ok(())
    }
}
