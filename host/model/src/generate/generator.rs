//! The loop that writes, over weights and a cache that may stay from one text to the next.

use super::{
    Generated, Generation, Sequence,
    blocks::Blocks,
    cache::Cache,
    choose, sequences,
    step::{Ropes, Step},
};
use crate::{BATCH_TOKENS, Head, Llama, ModelError, Result};
use espalier_base::interrupt;
use rayon::prelude::*;
use std::{collections::VecDeque, fmt};

/// Writes one text after another with the same model, as in a conversation: weights stay on the device, and what a prompt
/// has in common with the text before it is not read again.
pub struct Generator<'a> {
    model: &'a Llama,
    weights: Option<(Head, Blocks)>,
    last: Option<LastText>,
}

/// A cache with one sequence, and the tokens that it holds.
struct LastText {
    cache: Cache,
    tokens: Vec<u32>,
}

impl fmt::Debug for Generator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Generator").finish_non_exhaustive()
    }
}

impl<'a> Generator<'a> {
    /// A generator that has not loaded anything yet.
    pub fn new(model: &'a Llama) -> Self {
        Self { model, weights: None, last: None }
    }

    /// Continues a prompt as [`Llama::generate_until`] does.
    ///
    /// The beginning that a prompt shares with the last text, what was written for it included, is taken from the cache. With
    /// rotary frequencies that depend on the length of a text, all of it is read anew.
    ///
    /// # Errors
    /// As [`Llama::generate`].
    pub fn write(
        &mut self,
        prompt: &[u32],
        options: &Generation,
        is_end: impl FnMut(&[u32]) -> bool,
    ) -> Result<Generated> {
        options.check()?;
        let mut waiting = sequences(self.model, &[prompt], options)?;
        let Some(sequence) = waiting.first_mut().filter(|_| options.max_new_tokens > 0) else {
            return Ok(Generated::default());
        };
        let mut tokens = sequence.prompt.to_vec();
        let mut cache = self.cache(sequence, sequence.rows(options.max_new_tokens))?;
        let mut done = self.run(waiting, &mut cache, options, is_end, || ())?;
        let Some(written) = done.pop() else { unreachable!("one text a prompt") };
        tokens.extend(&written.tokens[..written.tokens.len() - 1]);
        self.last = Some(LastText { cache, tokens });
        Ok(written)
    }

    /// The last text's cache, if it has so many rows, else a new one.
    fn cache(&mut self, sequence: &mut Sequence, rows: usize) -> Result<Cache> {
        let last = self.last.take().filter(|last| last.cache.capacity() >= rows);
        if let Some(LastText { cache, tokens }) = last {
            if !self.model.config.rope.depends_on_length() {
                let common = tokens.iter().zip(sequence.prompt).take_while(|(a, b)| a == b).count();
                sequence.cached = common.min(sequence.prompt.len() - 1);
            }
            return Ok(cache);
        }
        // Room for the cache comes before blocks that stay. It doubles, so that a long conversation is seldom read anew.
        self.weights = None;
        let context = self.model.config.max_position_embeddings;
        Cache::allocate(self.model, 1, rows.next_power_of_two().min(context).max(rows))
    }

    /// Writes all these sequences, as many at a time as the cache has places for.
    pub(super) fn run(
        &mut self,
        waiting: Vec<Sequence>,
        cache: &mut Cache,
        options: &Generation,
        mut is_end: impl FnMut(&[u32]) -> bool,
        mut progress: impl FnMut(),
    ) -> Result<Vec<Generated>> {
        let model = self.model;
        let mut done = vec![Generated::default(); waiting.len()];
        let mut waiting = VecDeque::from(waiting);
        let mut free: Vec<usize> = (0..cache.slots()).rev().collect();
        let ropes = Ropes::new(model, cache.capacity())?;
        let (head, blocks) = match &mut self.weights {
            Some(weights) => weights,
            none => none.insert((model.load_head()?, Blocks::load(model)?)),
        };

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
            let step = Step::new(model, &active, &ropes, cache)?;
            let mut logits = blocks.run(model, head, &step, cache)?;
            let rows = logits.par_chunks_exact_mut(model.config.vocab_size);
            let next: Vec<_> = rows
                .zip(&mut active)
                .map(|(logits, sequence)| {
                    let before = sequence.prompt.iter().chain(&sequence.written);
                    choose::penalize(logits, before, options.repetition_penalty);
                    choose::next(logits, options.sampling.as_ref(), &mut sequence.rng)
                })
                .collect();
            for (sequence, next) in active.iter_mut().zip(next) {
                sequence.written.push(next.ok_or(ModelError::NotNumbers)?);
            }
            active.retain_mut(|sequence| {
                let ended = sequence.written.last().is_some_and(|last| options.end_tokens.contains(last));
                let stopped = is_end(&sequence.written);
                let finished = ended || stopped || sequence.written.len() == options.max_new_tokens;
                if finished {
                    done[sequence.index] = Generated { tokens: std::mem::take(&mut sequence.written), ended };
                    free.push(sequence.slot);
                    progress();
                }
                !finished
            });
        }
        // Blocks that do not stay are read in every step.
        model.checkpoint.check_unchanged()?;
        Ok(done)
    }
}
