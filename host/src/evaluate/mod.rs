//! What a model can do: perplexity.

pub mod metrics;
mod perplexity;

pub use perplexity::{Perplexity, perplexity};
