//! Perplexity: `exp` of the mean loss of every token but each window's first.

use super::likelihood::{Sequence, likelihoods};
use espalier_model::{Llama, ModelError, Result};
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

/// The perplexity of a model on windows, one block's weights at a time. `progress` is called for every
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
    let sequences: Vec<_> = windows.iter().map(|&ids| Sequence { ids, from: 1 }).collect();
    let found = likelihoods(model, &sequences, None, max_tokens, &mut progress)?;
    let tokens = found.iter().map(|window| window.tokens).sum();
    let loss = found.iter().map(|window| window.loss).sum::<f64>() / tokens as f64;
    if !loss.exp().is_finite() {
        return Err(ModelError::NoPerplexity { loss });
    }
    Ok(Perplexity { perplexity: loss.exp(), loss, tokens, windows: windows.len() })
}
