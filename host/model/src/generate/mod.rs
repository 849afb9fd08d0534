//! Generation: greedy or sampled, many sequences at a time, with a cache of keys and values.
//!
//! Every step is one ragged batch: the newest token of each sequence that is being written, and the prompts
//! of those that have just taken a free place. A sequence that ends leaves, and the next prompt takes its
//! place, so that a step has as many sequences as there is room for. There is no padding.

mod blocks;
mod cache;
mod choose;
mod generator;
mod step;

#[cfg(test)]
mod tests;

pub use choose::Sampling;
pub use generator::Generator;

pub(super) use cache::CachedBlock;

use super::{Llama, LlamaConfig, ModelError, Result};
use cache::Cache;
use espalier_sdk::Rng;

/// How to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The most tokens to write for a prompt.
    pub max_new_tokens: usize,
    /// The tokens that end a text.
    pub end_tokens: Vec<u32>,
    /// How tokens are drawn; without it, the most likely one is taken, of equals the lowest.
    pub sampling: Option<Sampling>,
    /// The penalty of tokens that are in the prompt or written already, above 0; 1 is none.
    pub repetition_penalty: f64,
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
            repetition_penalty: 1.0,
            sequences: SEQUENCES,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Nothing can be drawn with them.
    pub fn check(&self) -> Result<()> {
        choose::check_penalty(self.repetition_penalty)?;
        self.sampling.as_ref().map_or(Ok(()), Sampling::check)
    }
}

/// The continuation of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Tokens at the beginning of the prompt that the cache holds already; not its last one.
    cached: usize,
    written: Vec<u32>,
    slot: usize,
    rng: Rng,
}

impl Sequence<'_> {
    /// Tokens so far.
    fn len(&self) -> usize {
        self.prompt.len() + self.written.len()
    }

    /// The rows of the cache that its prompt and this many new tokens take: the last one is never read.
    fn rows(&self, max_new_tokens: usize) -> usize {
        self.prompt.len() + max_new_tokens - 1
    }
}

/// The sequences of these prompts, the long ones first: those that start together then have about the same length.
fn sequences<'a>(model: &'a Llama, prompts: &[&'a [u32]], options: &Generation) -> Result<Vec<Sequence<'a>>> {
    let bos = model.config.bos_token_id.as_ref().map(std::slice::from_ref);
    let mut sequences = Vec::with_capacity(prompts.len());
    // Each has a generator of its own, so that its draws do not depend on its neighbours.
    let mut seeds = Rng::new(options.sampling.as_ref().map_or(0, |sampling| sampling.seed));
    for (index, &prompt) in prompts.iter().enumerate() {
        let prompt = if prompt.is_empty() { bos.ok_or(ModelError::EmptyPrompt { index })? } else { prompt };
        let rng = Rng::new(seeds.next_u64());
        sequences.push(Sequence { index, prompt, cached: 0, written: Vec::new(), slot: 0, rng });
    }
    sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.prompt.len()));
    Ok(sequences)
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
    /// written. It is asked after every token.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_until(
        &self,
        prompts: &[&[u32]],
        options: &Generation,
        is_end: &(dyn Fn(&[u32]) -> bool + Sync),
        progress: impl FnMut(),
    ) -> Result<Vec<Generated>> {
        options.check()?;
        let waiting = sequences(self, prompts, options)?;
        let Some(longest) = waiting.first().filter(|_| options.max_new_tokens > 0) else {
            return Ok(vec![Generated::default(); prompts.len()]);
        };
        let rows = longest.rows(options.max_new_tokens);
        let mut cache = Cache::allocate(self, options.sequences.clamp(1, prompts.len()), rows)?;
        Generator::new(self).run(waiting, &mut cache, options, is_end, progress)
    }
}
