//! Generation: greedy or sampled, many sequences at a time, with a cache of keys and values.
//!
//! Every step is one ragged batch: the newest token of each sequence that is being written, and the prompts
//! of those that have just taken a free place. A sequence that ends leaves, and the next prompt takes its
//! place, so that a step has as many sequences as there is room for. There is no padding.

mod blocks;
mod cache;
mod choose;
mod step;

#[cfg(test)]
mod tests;

pub use choose::Sampling;

pub(super) use cache::CachedBlock;

use super::{BATCH_TOKENS, Llama, LlamaConfig, ModelError, Result};
use blocks::Blocks;
use cache::Cache;
use espalier_base::interrupt;
use espalier_sdk::Rng;
use rayon::prelude::*;
use std::collections::VecDeque;
use step::{Ropes, Step};

/// How to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The most tokens to write for a prompt.
    pub max_new_tokens: usize,
    /// The tokens that end a text.
    pub end_tokens: Vec<u32>,
    /// How tokens are drawn; without it, the most likely one is taken, of equals the lowest.
    pub sampling: Option<Sampling>,
    /// The most sequences at a time. There are fewer where their cache would take too much memory.
    pub sequences: usize,
}

/// The default number of sequences at a time: with so many, a step still reads every weight once.
const SEQUENCES: usize = 64;

impl Generation {
    /// Greedily, up to the model's own end tokens or this many tokens.
    pub fn greedy(config: &LlamaConfig, max_new_tokens: usize) -> Self {
        Self {
            max_new_tokens,
            end_tokens: config.eos_token_ids.clone(),
            sampling: None,
            sequences: SEQUENCES,
        }
    }
}

/// The continuation of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The tokens, the end token included where there is one.
    pub tokens: Vec<u32>,
    /// Whether an end token ended it, and not the limit.
    pub ended: bool,
}

/// A sequence that is being written.
struct Sequence<'a> {
    index: usize,
    prompt: &'a [u32],
    written: Vec<u32>,
    slot: usize,
    rng: Rng,
}

impl Sequence<'_> {
    /// Tokens so far.
    fn len(&self) -> usize {
        self.prompt.len() + self.written.len()
    }
}

impl Llama {
    /// Continues every prompt. `progress` is called for every prompt that is done.
    ///
    /// The text written for a prompt depends on the prompt and its number alone, but for the rounding of
    /// sums, which differs with the number of sequences in a step. Blocks stay on the device if they fit,
    /// else those that do not are loaded anew in every step.
    ///
    /// A prompt without tokens begins with the model's BOS token.
    ///
    /// # Errors
    /// An empty prompt for a model without BOS, a token outside the vocabulary, settings that cannot be
    /// drawn with, logits that are not numbers, a failing device, or an interrupt.
    pub fn generate(
        &self,
        prompts: &[&[u32]],
        options: &Generation,
        progress: impl FnMut(),
    ) -> Result<Vec<Generated>> {
        self.generate_until(prompts, options, &|_| false, progress)
    }

    /// Continues every prompt as [`generate`](Self::generate) does, but no further than where `is_end` holds of the tokens
    /// written.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_until(
        &self,
        prompts: &[&[u32]],
        options: &Generation,
        is_end: &(dyn Fn(&[u32]) -> bool + Sync),
        mut progress: impl FnMut(),
    ) -> Result<Vec<Generated>> {
        if let Some(sampling) = &options.sampling {
            sampling.check()?;
        }
        let bos = self.config.bos_token_id.as_ref().map(std::slice::from_ref);
        let mut waiting = Vec::with_capacity(prompts.len());
        // Each has a generator of its own, so that its draws do not depend on its neighbours.
        let mut seeds = Rng::new(options.sampling.as_ref().map_or(0, |sampling| sampling.seed));
        for (index, &prompt) in prompts.iter().enumerate() {
            let prompt =
                if prompt.is_empty() { bos.ok_or(ModelError::EmptyPrompt { index })? } else { prompt };
            let rng = Rng::new(seeds.next_u64());
            waiting.push(Sequence { index, prompt, written: Vec::new(), slot: 0, rng });
        }
        let mut done = vec![Generated { tokens: Vec::new(), ended: false }; prompts.len()];
        if options.max_new_tokens == 0 || prompts.is_empty() {
            return Ok(done);
        }
        // The long ones first: those that start together then have about the same length.
        waiting.sort_by_key(|sequence| std::cmp::Reverse(sequence.prompt.len()));
        let mut waiting = VecDeque::from(waiting);
        // The last token that is written is never read.
        let capacity = waiting[0].prompt.len() + options.max_new_tokens - 1;
        let mut cache = Cache::allocate(self, options.sequences.clamp(1, prompts.len()), capacity)?;
        let mut free: Vec<usize> = (0..cache.slots()).rev().collect();
        let ropes = Ropes::new(self, capacity)?;
        let head = self.load_head()?;
        let mut blocks = Blocks::load(self)?;

        let mut active: Vec<Sequence> = Vec::new();
        while !(waiting.is_empty() && active.is_empty()) {
            interrupt::check()?;
            let writing = active.len();
            let mut room = BATCH_TOKENS.saturating_sub(writing);
            while let (Some(next), Some(&slot)) = (waiting.front(), free.last()) {
                // One is always taken, however long.
                if next.prompt.len() > room && active.len() > writing {
                    break;
                }
                room = room.saturating_sub(next.prompt.len());
                free.pop();
                active.extend(waiting.pop_front().map(|sequence| Sequence { slot, ..sequence }));
            }
            let step = Step::new(self, &active, &ropes, &cache)?;
            let logits = blocks.run(self, &head, &step, &mut cache)?;
            let rows = logits.par_chunks_exact(self.config.vocab_size);
            let next: Vec<_> = rows
                .zip(&mut active)
                .map(|(logits, sequence)| choose::next(logits, options.sampling.as_ref(), &mut sequence.rng))
                .collect();
            for (sequence, next) in active.iter_mut().zip(next) {
                sequence.written.push(next.ok_or(ModelError::NotNumbers)?);
            }
            active.retain_mut(|sequence| {
                let ended = sequence.written.last().is_some_and(|last| options.end_tokens.contains(last));
                let finished =
                    ended || sequence.written.len() == options.max_new_tokens || is_end(&sequence.written);
                if finished {
                    done[sequence.index] = Generated { tokens: std::mem::take(&mut sequence.written), ended };
                    free.push(sequence.slot);
                    progress();
                }
                !finished
            });
        }
        // Blocks that do not stay are read in every step.
        self.checkpoint.check_unchanged()?;
        Ok(done)
    }
}
