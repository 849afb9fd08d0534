//! Batches of sequences in which a beginning that several have in common is computed once.

use super::{Batch, Llama, LlamaConfig, ModelError, Result};
use espalier_device::{DType, Op, Span, Tensor};
use std::{cmp::Reverse, sync::Arc};

/// How many rows of keys a batch may have for each of its tokens: a shared beginning's keys stand before those of
/// every sequence that has it.
const KEYS_FOR_TOKEN: usize = 4;

/// How sequences are computed: in which batches, and what of each is computed with another. Known without a device.
#[derive(Debug, Clone, Default)]
pub struct PrefixPlan {
    batches: Vec<Vec<PlannedSequence>>,
    tokens: usize,
}

/// A sequence in a batch.
#[derive(Debug, Clone, Copy)]
struct PlannedSequence {
    /// Its number.
    number: usize,
    /// How many of its tokens are those that the sequence before it in the batch begins with.
    shared: usize,
}

impl PrefixPlan {
    /// A plan for these sequences, in batches of about `max_tokens` tokens.
    ///
    /// Where a sequence's length decides how its positions are encoded, sequences have nothing in common.
    pub fn new(sequences: &[&[u32]], config: &LlamaConfig, max_tokens: usize) -> Self {
        let alone = config.rope.depends_on_length();
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        if alone {
            order.sort_by_key(|&number| Reverse(sequences[number].len()));
        } else {
            order.sort_by_key(|&number| sequences[number]);
        }
        let mut plan = Self::default();
        let (mut batch, mut tokens, mut keys) = (Vec::new(), 0, 0);
        let mut before: Option<&[u32]> = None;
        for number in order {
            let sequence = sequences[number];
            let common =
                |before: &[u32]| before.iter().zip(sequence).take_while(|(one, other)| one == other).count();
            let mut shared = if alone { 0 } else { before.map_or(0, common) };
            let full = tokens + sequence.len() - shared > max_tokens
                || keys + sequence.len() > KEYS_FOR_TOKEN * max_tokens
                || alone && before.is_some_and(|before| before.len() != sequence.len());
            if full && !batch.is_empty() {
                plan.batches.push(std::mem::take(&mut batch));
                (tokens, keys, shared) = (0, 0, 0);
            }
            tokens += sequence.len() - shared;
            keys += sequence.len();
            plan.tokens += sequence.len() - shared;
            batch.push(PlannedSequence { number, shared });
            before = Some(sequence);
        }
        plan.batches.extend((!batch.is_empty()).then_some(batch));
        plan
    }

    /// How many tokens go through each block.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// How many batches there are.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// How many tokens go through each block in a batch.
    pub fn tokens_of(&self, batch: usize, sequences: &[&[u32]]) -> usize {
        self.batches[batch].iter().map(|planned| sequences[planned.number].len() - planned.shared).sum()
    }
}

/// The rows of a batch in which a sequence's tokens are, one after the other.
#[derive(Debug, Clone)]
pub struct SequenceRows {
    /// The sequence's number.
    pub number: usize,
    /// Runs of rows: the first and how many.
    runs: Vec<(usize, usize)>,
}

impl SequenceRows {
    /// The rows of the last `count` tokens.
    pub fn last(&self, count: usize) -> Vec<(usize, usize)> {
        let mut left = count;
        let mut runs = Vec::new();
        for &(first, rows) in self.runs.iter().rev() {
            let taken = rows.min(left);
            if taken > 0 {
                runs.push((first + rows - taken, taken));
            }
            left -= taken;
        }
        runs.reverse();
        runs
    }

    /// Drops what is behind the first `count` tokens.
    fn truncate(&mut self, count: usize) {
        let mut left = count;
        for (_, rows) in &mut self.runs {
            *rows = left.min(*rows);
            left -= *rows;
        }
        self.runs.retain(|(_, rows)| *rows > 0);
    }
}

/// Where the keys and values of a batch are put, whose spans are over these rows.
#[derive(Debug, Clone)]
pub(super) struct SharedKeys {
    rows: usize,
    /// Rows of the batch: the first, how many, and where they begin.
    copies: Vec<(usize, usize, usize)>,
}

impl SharedKeys {
    /// Keys or values of a batch's tokens, as its spans look for them.
    pub(super) fn spread(&self, model: &Llama, x: &Tensor) -> Result<Tensor> {
        let mut out = model.device.zeros(DType::F32, self.rows, x.cols())?;
        for &(first, rows, to) in &self.copies {
            model.copy_rows(x, (first, rows), &mut out, to)?;
        }
        Ok(out)
    }
}

impl Llama {
    /// Copies a run of rows into another matrix, where they begin with the row `to`.
    ///
    /// # Errors
    /// A failing device.
    pub fn copy_rows(&self, x: &Tensor, run: (usize, usize), out: &mut Tensor, to: usize) -> Result<()> {
        let from = x.block(run.0..run.0 + run.1, 0..x.cols());
        Ok(self.device.execute(Op::Copy { from, to: (to, 0) }, out)?)
    }

    /// A batch of a plan, and where its sequences are in it.
    ///
    /// # Errors
    /// A failing device.
    pub fn prefix_batch(
        &self,
        sequences: &[&[u32]],
        plan: &PrefixPlan,
        batch: usize,
    ) -> Result<(Batch, Vec<SequenceRows>)> {
        let planned = &plan.batches[batch];
        let mut tokens: Vec<u32> = Vec::new();
        let mut positions: Vec<u32> = Vec::new();
        let mut spans = Vec::with_capacity(planned.len());
        let mut keys = SharedKeys { rows: 0, copies: Vec::new() };
        let mut all: Vec<SequenceRows> = Vec::with_capacity(planned.len());
        for &PlannedSequence { number, shared } in planned {
            let sequence = sequences[number];
            let mut rows = all.last().cloned().unwrap_or(SequenceRows { number, runs: Vec::new() });
            rows.number = number;
            rows.truncate(shared);
            let own = sequence.len() - shared;
            if own > 0 {
                let query_start = tokens.len();
                rows.runs.push((query_start, own));
                tokens.extend_from_slice(&sequence[shared..]);
                positions.extend(shared as u32..sequence.len() as u32);
                let key_start = keys.rows;
                for &(first, count) in &rows.runs {
                    keys.copies.push((first, count, keys.rows));
                    keys.rows += count;
                }
                spans.push(Span { query_start, queries: own, key_start, keys: sequence.len() });
            }
            all.push(rows);
        }
        let longest = spans.iter().map(|span| span.keys).max().unwrap_or(0);
        let table = self.config.rope.table(longest);
        let name = format!("a batch of {} tokens", tokens.len());
        let on_device = |source| ModelError::Tensor { name: name.clone(), source };
        let positions = self.device.from_u32(&positions).map_err(on_device)?;
        let rope = self.device.from_f32(longest, self.config.head_dim, table).map_err(on_device)?;
        let shared = Some(Arc::new(keys));
        let (positions, rope) = (Arc::new(positions), Arc::new(rope));
        Ok((Batch { tokens, spans, positions, rope, loss_mask: Vec::new(), shared }, all))
    }
}

#[cfg(test)]
#[path = "prefixes_tests.rs"]
mod tests;
