//! Perplexity: `exp` of the mean loss of every token but each window's first.

use crate::{
    device::{DType, Tensor},
    interrupt,
    model::{HiddenStates, Llama, Result},
};
use serde::Serialize;

/// How well a model predicts a text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Perplexity {
    /// `exp(loss)`.
    pub perplexity: f64,
    /// The mean negative log-likelihood of a token, in nats.
    pub loss: f64,
    /// Tokens predicted.
    pub tokens: usize,
    /// Windows they stood in.
    pub windows: usize,
}

/// The perplexity of a model on windows, one block's weights at a time. `progress` is told of every
/// token that went through a block.
///
/// # Errors
/// A failing device, a broken checkpoint, or an interrupt.
pub fn perplexity(
    model: &Llama,
    windows: &[&[u32]],
    max_tokens: usize,
    mut progress: impl FnMut(usize),
) -> Result<Perplexity> {
    let mut hidden = HiddenStates::embed(model, windows, max_tokens)?;
    for index in 0..model.config.num_hidden_layers {
        let block = model.load_block(index)?;
        hidden.advance(model, &block, &mut progress)?;
        drop(block);
        model.release_block(index);
    }
    let head = model.load_head()?;
    let mut total = 0.0;
    let mut tokens = 0;
    for (batch, states) in hidden.batches() {
        for span in &batch.spans {
            interrupt::check()?;
            let ids = &batch.tokens[span.query_start..span.query_start + span.queries];
            total += window_loss(model, &head, states, span.query_start, ids)?;
            tokens += ids.len() - 1;
        }
    }
    let loss = total / tokens as f64;
    Ok(Perplexity { perplexity: loss.exp(), loss, tokens, windows: windows.len() })
}

/// The summed loss of one window, in pieces whose logits stay small.
fn window_loss(
    model: &Llama,
    head: &crate::model::Head,
    states: &Tensor,
    start: usize,
    ids: &[u32],
) -> Result<f64> {
    const MAX_LOGITS: usize = 1 << 24;
    let device = &*model.device;
    let rows = (MAX_LOGITS / model.config.vocab_size).max(1);
    let mut total = 0.0;
    // The last token predicts nothing that is known.
    let predicting = ids.len() - 1;
    for from in (0..predicting).step_by(rows) {
        let count = rows.min(predicting - from);
        let mut piece = device.zeros(DType::F32, count, states.cols())?;
        device.copy_rows(states, start + from, &mut piece)?;
        let logits = model.logits(head, &piece)?;
        let targets = device.from_u32(&ids[from + 1..from + 1 + count])?;
        let mut loss = device.zeros(DType::F32, count, 1)?;
        device.cross_entropy(&logits, &targets, &mut loss)?;
        total += device.to_f32(&loss)?.into_iter().map(f64::from).sum::<f64>();
    }
    Ok(total)
}
