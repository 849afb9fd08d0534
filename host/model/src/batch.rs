//! Batches: sequences laid end to end, without padding.

use super::{Llama, ModelError, Result};
use espalier_device::{Span, Tensor};
use std::sync::Arc;

/// Tokens that go through a block at a time, about: enough to keep a device busy, few enough that
/// activations stay small beside a block's weights.
pub const BATCH_TOKENS: usize = 4096;

/// Sequences laid end to end. Every row of a hidden state is a token that counts: there is no padding
/// that could leak into attention, statistics or perplexity.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The tokens of all sequences.
    pub tokens: Vec<u32>,
    /// Where each sequence lies.
    pub spans: Vec<Span>,
    /// Each token's position in its sequence, `[tokens, 1]`, u32.
    pub positions: Arc<Tensor>,
    /// The rotary table that the positions are rows of, `[positions, head_dim]`, f32: as a rule up to the
    /// longest sequence.
    pub rope: Arc<Tensor>,
}

impl Llama {
    /// Sequences as one batch.
    ///
    /// # Errors
    /// A failing device.
    pub fn batch(&self, sequences: &[&[u32]]) -> Result<Batch> {
        let mut tokens = Vec::new();
        let mut positions = Vec::new();
        let mut spans = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let (start, length) = (tokens.len(), sequence.len());
            spans.push(Span { query_start: start, queries: length, key_start: start, keys: length });
            tokens.extend_from_slice(sequence);
            positions.extend(0..length as u32);
        }
        let longest = sequences.iter().map(|sequence| sequence.len()).max().unwrap_or(0);
        let table = self.config.rope.table(longest);
        let name = format!("a batch of {} tokens", tokens.len());
        let on_device = |source| ModelError::Tensor { name: name.clone(), source };
        let positions = self.device.from_u32(&positions).map_err(on_device)?;
        let rope = self.device.from_f32(longest, self.config.head_dim, table).map_err(on_device)?;
        Ok(Batch { tokens, spans, positions: Arc::new(positions), rope: Arc::new(rope) })
    }

    /// Windows in batches of at most `max_tokens` tokens (or one window, if that is longer). Windows of
    /// different lengths share a batch only if the model's rotary table is the same for both.
    ///
    /// # Errors
    /// A failing device.
    pub fn batches(&self, windows: &[&[u32]], max_tokens: usize) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        let mut from = 0;
        while from < windows.len() {
            let mut to = from + 1;
            let mut tokens = windows[from].len();
            while to < windows.len() && tokens + windows[to].len() <= max_tokens {
                if self.config.rope.depends_on_length() && windows[to].len() != windows[from].len() {
                    break;
                }
                tokens += windows[to].len();
                to += 1;
            }
            batches.push(self.batch(&windows[from..to])?);
            from = to;
        }
        Ok(batches)
    }
}
