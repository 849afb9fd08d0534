//! The model that is to be pruned, as a selector may ask it.

use crate::{Result, service::ModelService};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Facts of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Tokens it knows.
    pub vocab_size: usize,
    /// Its transformer blocks.
    pub layers: usize,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The token that ends one.
    pub eos: Option<u32>,
}

/// How text is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SamplingOptions {
    /// Tokens after the prefix, at most.
    pub max_tokens: usize,
    /// The divisor of the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// The smallest set of the likeliest tokens that has this much probability is drawn from; 1 is all.
    pub top_p: f32,
    /// Only this many of the likeliest tokens are drawn from; 0 is all.
    pub top_k: usize,
    /// The seed of the draws.
    pub seed: u64,
}

/// The model that is to be pruned, still dense. Its answers are computed on the run's device, in batches:
/// ask for many sequences at once.
///
/// Every function fails in a selector that did not say [`needs_model`](crate::SelectorInfo::needs_model).
///
/// ```
/// # use espalier_sdk::*;
/// /// How surprised the model is by a document: its perplexity.
/// fn perplexity(model: &LanguageModel, tokens: &[u32]) -> Result<f64> {
///     let likelihoods = model.log_likelihoods(&[tokens])?.remove(0);
///     let mean = likelihoods.iter().map(|&x| f64::from(x)).sum::<f64>() / likelihoods.len().max(1) as f64;
///     Ok((-mean).exp())
/// }
/// ```
pub struct LanguageModel<'a>(&'a dyn ModelService);

impl fmt::Debug for LanguageModel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("LanguageModel").finish_non_exhaustive()
    }
}

impl<'a> LanguageModel<'a> {
    /// The model behind a service.
    pub fn new(service: &'a dyn ModelService) -> Self {
        Self(service)
    }

    /// Facts of the model.
    ///
    /// # Errors
    /// There is no model; so for every function.
    pub fn info(&self) -> Result<ModelInfo> {
        self.0.info()
    }

    /// Of each sequence, the natural logarithm of the probability of every token but the first, given all
    /// before it: one number fewer than tokens.
    ///
    /// # Errors
    /// An empty sequence, a token that the model does not know, or a failing device; so for every function
    /// below.
    pub fn log_likelihoods(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        self.0.log_likelihoods(sequences)
    }

    /// Of each sequence, the mean over its tokens of the hidden states that leave each of these layers
    /// (blocks, from 0), one layer after the other: `layers · hidden_size` numbers.
    ///
    /// # Errors
    /// As [`LanguageModel::log_likelihoods`], or a layer that the model does not have.
    pub fn pooled(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<Vec<f32>>> {
        self.0.pooled(sequences, layers)
    }

    /// The model's continuation of each prefix, without the prefix; a text that the model ends itself ends
    /// with its end-of-text token.
    ///
    /// # Errors
    /// As [`LanguageModel::log_likelihoods`].
    pub fn sample(&self, prefixes: &[&[u32]], options: &SamplingOptions) -> Result<Vec<Vec<u32>>> {
        self.0.sample(prefixes, options)
    }
}
