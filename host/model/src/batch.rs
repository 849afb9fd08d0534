//! Batches: sequences laid end to end, without padding.

use super::{Llama, ModelError, Result, prefixes::SharedKeys};
use espalier_device::{Span, Tensor};
use std::sync::Arc;

/// Tokens that go through a block at a time, about: enough to keep a device busy, few enough that
/// activations stay small beside a block's weights.
pub const BATCH_TOKENS: usize = 4096;

/// A calibration window: the tokens of one sequence, and how much each of them counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Window<'a> {
    /// The tokens.
    pub input_ids: &'a [u32],
    /// How much each token counts in statistics of inputs, and in losses as the token that is predicted: finite and not
    /// negative. Nothing where all count 1.
    pub loss_mask: &'a [f32],
}

impl Window<'_> {
    /// Its tokens.
    pub fn len(&self) -> usize {
        self.input_ids.len()
    }

    /// Whether it has no tokens.
    pub fn is_empty(&self) -> bool {
        self.input_ids.is_empty()
    }

    /// The tokens that count.
    pub fn counted(&self) -> usize {
        if self.loss_mask.is_empty() { self.len() } else { counted(self.loss_mask) }
    }
}

impl<'a> From<&'a [u32]> for Window<'a> {
    fn from(input_ids: &'a [u32]) -> Self {
        Self { input_ids, loss_mask: &[] }
    }
}

fn counted(loss_mask: &[f32]) -> usize {
    loss_mask.iter().filter(|&&weight| weight > 0.0).count()
}

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
    /// How much each token counts, as in [`Window::loss_mask`]; nothing where all count 1.
    pub loss_mask: Vec<f32>,
    /// Where keys and values are put before attention, if spans are over other rows than the batch's own.
    pub(super) shared: Option<Arc<SharedKeys>>,
}

impl Batch {
    /// How much a token counts.
    pub fn weight(&self, token: usize) -> f32 {
        self.loss_mask.get(token).copied().unwrap_or(1.0)
    }

    /// The tokens that count.
    pub fn counted(&self) -> usize {
        if self.loss_mask.is_empty() { self.tokens.len() } else { counted(&self.loss_mask) }
    }
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
        let (positions, rope) = (Arc::new(positions), Arc::new(rope));
        Ok(Batch { tokens, spans, positions, rope, loss_mask: Vec::new(), shared: None })
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
