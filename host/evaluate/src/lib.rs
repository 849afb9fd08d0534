//! Evaluation of a model: perplexity of running text, and tasks with reference answers.
//!
//! A [`Task`] says what to measure on which data. Its data are read and tokenised once ([`TaskItems`]) and
//! may then be run with any number of models that share a tokenizer; what the divergence from a dense model
//! needs of it is computed once too ([`DenseReference`]).

mod bootstrap;
mod contexts;
mod defined;
mod definition;
mod error;
mod items;
mod likelihood;
mod loglikelihood;
mod matching;
mod metric;
pub mod metrics;
mod number;
mod perplexity;
mod predictions;
mod python_random;
mod requests;
mod retention;
mod run;
mod shots;
mod stop;
mod task;
mod turns;

pub use bootstrap::{Difference, Mean, Score, contrast, mean};
pub use definition::{DefinitionName, TaskDefinition};
pub use error::{EvaluateError, Result};
pub use items::{ItemCounts, TaskItems};
pub use likelihood::DenseReference;
pub use metric::Metric;
pub use perplexity::{Perplexity, perplexity};
pub use predictions::write_predictions;
pub use retention::{Retention, RetentionPart, chance, retention};
pub use run::{Item, TaskResult, run};
pub use task::{ChatForm, Task};
