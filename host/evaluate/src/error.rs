//! Errors of evaluations.

use super::{DefinitionName, Metric};
use espalier_base::{interrupt::Interrupted, output::OutputError};
use espalier_data::CalibrationError;
use espalier_model::ModelError;
use std::path::PathBuf;

/// The result of an evaluation.
pub type Result<T, E = EvaluateError> = std::result::Result<T, E>;

/// Errors of evaluations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The model fails.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model fails where the likelihood of a task's text is measured.
    #[error("the task {task} cannot be measured")]
    Likelihood {
        /// The task.
        task: String,
        /// Why.
        source: ModelError,
    },
    /// The data are not usable.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The run was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// No such metric.
    #[error("there is no metric `{name}`; choose from {known}")]
    Metric {
        /// The given text.
        name: String,
        /// The known names.
        known: String,
    },
    /// A task that measures nothing.
    #[error("the task {task} names no metric")]
    NoMetrics {
        /// The task.
        task: String,
    },
    /// A stop without text.
    #[error("the task {task} has an empty stop text, which would end every prediction before it begins")]
    EmptyStop {
        /// The task.
        task: String,
    },
    /// A metric that needs reference answers, for data without.
    #[error(
        "{metric} needs answers to compare with, and {place} has none; for running text there is perplexity"
    )]
    NoAnswers {
        /// The metric.
        metric: Metric,
        /// Where the data are from.
        place: String,
    },
    /// A metric of running text, for rows with answers.
    #[error(
        "{metric} is for running text, and {place} has an answer; for answers there is answer_perplexity"
    )]
    Answers {
        /// The metric.
        metric: Metric,
        /// Where the data are from.
        place: String,
    },
    /// No room for a prompt before the tokens that are to be written.
    #[error("{max_new_tokens} new tokens leave no room for a prompt in the model's context of {context}")]
    Room {
        /// Tokens to be written.
        max_new_tokens: usize,
        /// The model's context.
        context: usize,
    },
    /// A divergence without the model that it is from.
    #[error("js_divergence of {task} needs the dense model to compare with")]
    NoDense {
        /// The task.
        task: String,
    },
    /// A dense model that is of another shape.
    #[error("the dense model is another than the one that is measured: {problem}")]
    OtherDense {
        /// The difference.
        problem: String,
    },
    /// Two runs that cannot be compared item by item.
    #[error("two runs of {metric} cannot be compared item by item: one has {left} items, the other {right}")]
    Unpaired {
        /// The metric.
        metric: Metric,
        /// Items of the one.
        left: usize,
        /// Items of the other.
        right: usize,
    },
    /// A definition that cannot be read.
    #[error(
        "{} cannot be read; a task is one of {}, or a file of your own",
        path.display(), DefinitionName::shipped().join(", ")
    )]
    ReadTask {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is no definition of a task.
    #[error("{}:{line}:{column}: {message}", path.display())]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// The problem.
        message: String,
    },
    /// Examples that are not there.
    #[error("the examples of {task} cannot be taken: {problem}")]
    Shots {
        /// The task.
        task: String,
        /// The problem.
        problem: String,
    },
    /// A tokenizer without a token for an empty context.
    #[error("the tokenizer has no token that begins or ends a text, which stands for an empty context")]
    NoPrefixToken,
    /// A metric of defined tasks, for rows with prompts and answers of their own.
    #[error("{metric} is measured by the definition of a task: name one, such as arc_easy, and its data")]
    NoDefinition {
        /// The metric.
        metric: Metric,
    },
    /// Predictions that cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}
