//! What a model can do: perplexity.

mod perplexity;

pub use perplexity::{Perplexity, perplexity};
