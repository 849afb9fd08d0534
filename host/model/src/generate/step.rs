//! One step as a batch.

use super::{Sequence, cache::Cache};
use crate::{Batch, Llama, Result};
use espalier_device::{Span, Tensor};
use std::sync::Arc;

/// A step: the newest tokens of all sequences in the first rows, one each, then what is before it of the
/// prompts that are read for the first time.
pub(super) struct Step {
    /// Spans are over the rows of the cache.
    pub(super) batch: Batch,
    /// The row of the cache of every token, `[tokens, 1]`, u32.
    pub(super) places: Tensor,
    /// How many sequences, so many rows are newest tokens.
    pub(super) sequences: usize,
}

/// Where rotary tables come from.
pub(super) enum Ropes {
    /// One for all steps.
    Fixed(Arc<Tensor>),
    /// One a step, with a row for every token, because the length of its sequence decides. As with
    /// transformers, a key stays turned as it was when its token was the newest.
    OfLength,
}

impl Ropes {
    /// The tables for sequences of at most `capacity` tokens.
    pub(super) fn new(model: &Llama, capacity: usize) -> Result<Self> {
        let rope = &model.config.rope;
        if rope.depends_on_length() {
            return Ok(Self::OfLength);
        }
        let table = model.device.from_f32(capacity, rope.head_dim, rope.table(capacity))?;
        Ok(Self::Fixed(Arc::new(table)))
    }
}

impl Step {
    /// The next step of these sequences. Those that nothing has been written for are read, from where the cache ends.
    pub(super) fn new(model: &Llama, sequences: &[Sequence], ropes: &Ropes, cache: &Cache) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut spans = Vec::new();
        // Of every token: its position, the length of its sequence, and its row in the cache.
        let mut positions = Vec::new();
        let mut lengths = Vec::new();
        let mut places = Vec::new();
        for (row, sequence) in sequences.iter().enumerate() {
            let (length, key_start) = (sequence.len(), cache.first_row(sequence.slot));
            tokens.extend(sequence.written.last().or(sequence.prompt.last()));
            positions.push((length - 1) as u32);
            lengths.push(length);
            places.push((key_start + length - 1) as u32);
            spans.push(Span { query_start: row, queries: 1, key_start, keys: length });
        }
        for sequence in sequences.iter().filter(|sequence| sequence.written.is_empty()) {
            let (from, keys) = (sequence.cached, sequence.prompt.len() - 1);
            let (count, key_start) = (keys - from, cache.first_row(sequence.slot));
            if count > 0 {
                spans.push(Span { query_start: tokens.len(), queries: count, key_start, keys });
            }
            tokens.extend_from_slice(&sequence.prompt[from..keys]);
            positions.extend(from as u32..keys as u32);
            lengths.extend(std::iter::repeat_n(sequence.len(), count));
            places.extend((key_start + from..key_start + keys).map(|place| place as u32));
        }
        let rope = match ropes {
            Ropes::Fixed(table) => Arc::clone(table),
            Ropes::OfLength => {
                let rope = &model.config.rope;
                let mut table = Vec::with_capacity(tokens.len() * rope.head_dim);
                for (position, length) in positions.iter_mut().zip(lengths) {
                    let at = *position as usize;
                    *position = (table.len() / rope.head_dim) as u32;
                    rope.extend_table(length, at..at + 1, &mut table);
                }
                Arc::new(model.device.from_f32(tokens.len(), rope.head_dim, table)?)
            }
        };
        Ok(Self {
            sequences: sequences.len(),
            places: model.device.from_u32(&places)?,
            batch: Batch {
                positions: model.device.from_u32(&positions)?.into(),
                tokens,
                spans,
                rope,
                loss_mask: Vec::new(),
                shared: None,
            },
        })
    }
}
