//! How likely a model finds given tokens, and how its distributions differ from a dense model's.

use super::{EvaluateError, Result, TaskItems};
use espalier_base::interrupt;
use espalier_device::{DType, Op, Tensor};
use espalier_model::{BATCH_TOKENS, Head, HiddenStates, Llama, ModelError, Placement};

/// The most logits of a piece of a sequence.
const MAX_LOGITS: usize = 1 << 24;

/// Tokens to be predicted: all of `ids` from `from` on, which is at least 1.
#[derive(Clone, Copy)]
pub(super) struct Sequence<'a> {
    pub(super) ids: &'a [u32],
    pub(super) from: usize,
}

/// The likelihood of a sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Likelihood {
    /// The summed negative log-likelihood of its tokens, in nats.
    pub(super) loss: f64,
    /// The summed divergence of the distributions that predict them, in nats.
    pub(super) divergence: f64,
    /// How many they are.
    pub(super) tokens: usize,
}

/// A dense model's pass over a task's data: the last hidden states of the positions that predict. Heads
/// are never pruned, so that a pruned model's own head makes the dense distributions of them.
#[derive(Debug, Clone)]
pub struct DenseReference {
    /// Of every item with tokens to predict, `[tokens, hidden]` in host memory.
    states: Vec<Vec<f32>>,
    hidden_size: usize,
    vocab_size: usize,
}

impl DenseReference {
    /// Runs the dense model. `progress` is called for every token that went through a block.
    ///
    /// # Errors
    /// A failing device, a broken checkpoint, or an interrupt.
    pub fn new(model: &Llama, items: &TaskItems, progress: &mut dyn FnMut(usize)) -> Result<Self> {
        let sequences = sequences(items);
        let hidden = last_hidden(model, &sequences, BATCH_TOKENS, progress)?;
        let mut states = Vec::with_capacity(sequences.len());
        each(model, &hidden, &sequences, |sequence, hidden, start| {
            let rows = sequence.ids.len() - sequence.from;
            let mut piece = model.device.zeros(DType::F32, rows, hidden.cols())?;
            model.device.execute(Op::CopyRows { x: hidden, start: start + sequence.from - 1 }, &mut piece)?;
            states.push(model.device.to_f32(&piece)?);
            Ok(())
        })?;
        Ok(Self { states, hidden_size: model.config.hidden_size, vocab_size: model.config.vocab_size })
    }

    /// Checks that a model's distributions can be compared with this one's on these items.
    pub(super) fn check(&self, model: &Llama, items: &TaskItems) -> Result<()> {
        let other = |problem: String| Err(EvaluateError::OtherDense { problem });
        let (hidden, vocab) = (model.config.hidden_size, model.config.vocab_size);
        if (self.hidden_size, self.vocab_size) != (hidden, vocab) {
            return other(format!(
                "hidden states of {} and {hidden} numbers, vocabularies of {} and {vocab} tokens",
                self.hidden_size, self.vocab_size
            ));
        }
        let expected = sequences(items).into_iter().map(|sequence| sequence.ids.len() - sequence.from);
        let found = self.states.iter().map(|states| states.len() / hidden);
        if !expected.eq(found) {
            return other("it was run on other data".to_owned());
        }
        Ok(())
    }
}

/// The sequences to predict of a task's items, where there are any.
pub(super) fn sequences(items: &TaskItems) -> Vec<Sequence<'_>> {
    let some = items.items.iter().filter(|item| item.predicted() > 0);
    some.map(|item| Sequence { ids: &item.ids, from: item.from }).collect()
}

/// The likelihood of every sequence, one block's weights at a time; with a dense model's states, also the
/// divergence from it.
pub(super) fn likelihoods(
    model: &Llama,
    sequences: &[Sequence],
    dense: Option<&DenseReference>,
    max_tokens: usize,
    progress: &mut dyn FnMut(usize),
) -> espalier_model::Result<Vec<Likelihood>> {
    let hidden = last_hidden(model, sequences, max_tokens, progress)?;
    let head = model.load_head()?;
    let mut found = Vec::with_capacity(sequences.len());
    each(model, &hidden, sequences, |sequence, hidden, start| {
        let dense = dense.map(|dense| dense.states[found.len()].as_slice());
        let of_sequence = likelihood(model, &head, sequence, hidden, start, dense)?;
        if !(of_sequence.loss.is_finite() && of_sequence.divergence.is_finite()) {
            return Err(ModelError::NoLikelihood { sequence: found.len() });
        }
        found.push(of_sequence);
        Ok(())
    })?;
    Ok(found)
}

/// The last block's hidden states.
fn last_hidden(
    model: &Llama,
    sequences: &[Sequence],
    max_tokens: usize,
    progress: &mut dyn FnMut(usize),
) -> espalier_model::Result<HiddenStates> {
    let ids: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.ids).collect();
    let mut hidden = HiddenStates::embed(model, &ids, max_tokens, &Placement::Device)?;
    let ahead = model.has_room_ahead(hidden.tokens());
    model.each_block(0..model.config.num_hidden_layers, ahead, |_, block| {
        hidden.advance(model, block, &mut *progress)
    })?;
    Ok(hidden)
}

/// Every sequence with the hidden states of its batch and the row where its own begin.
fn each<'a>(
    model: &Llama,
    hidden: &HiddenStates,
    sequences: &[Sequence<'a>],
    mut visit: impl FnMut(Sequence<'a>, &Tensor, usize) -> espalier_model::Result<()>,
) -> espalier_model::Result<()> {
    let mut sequences = sequences.iter();
    hidden.visit(model, |batch, states| {
        for (span, &sequence) in batch.spans.iter().zip(&mut sequences) {
            interrupt::check()?;
            visit(sequence, states, span.query_start)?;
        }
        Ok(())
    })
}

/// One sequence, in pieces whose logits stay small.
fn likelihood(
    model: &Llama,
    head: &Head,
    sequence: Sequence,
    states: &Tensor,
    start: usize,
    dense: Option<&[f32]>,
) -> espalier_model::Result<Likelihood> {
    let device = &*model.device;
    let (width, rows) = (states.cols(), (MAX_LOGITS / model.config.vocab_size).max(1));
    let mut found = Likelihood { tokens: sequence.ids.len() - sequence.from, ..Likelihood::default() };
    let sum = |x: &Tensor| device.to_f32(x).map(|x| x.into_iter().map(f64::from).sum::<f64>());
    for first in (0..found.tokens).step_by(rows) {
        let count = rows.min(found.tokens - first);
        // A token is predicted at the position before it.
        let token = sequence.from + first;
        let mut piece = device.zeros(DType::F32, count, width)?;
        device.execute(Op::CopyRows { x: states, start: start + token - 1 }, &mut piece)?;
        let logits = model.logits(head, &piece)?;
        let targets = device.from_u32(&sequence.ids[token..token + count])?;
        let mut out = device.zeros(DType::F32, count, 1)?;
        device.execute(Op::CrossEntropy { logits: &logits, targets: &targets }, &mut out)?;
        found.loss += sum(&out)?;
        if let Some(dense) = dense {
            let dense = dense[first * width..(first + count) * width].to_vec();
            let dense = model.logits(head, &device.from_f32(count, width, dense)?)?;
            device.execute(Op::JsDivergence { a: &dense, b: &logits }, &mut out)?;
            found.divergence += sum(&out)?;
        }
    }
    Ok(found)
}
