//! Errors of studies.

use espalier_base::{cause::causes, interrupt::Interrupted, output::OutputError};
use espalier_data::CalibrationError;
use espalier_device::DeviceError;
use espalier_evaluate::EvaluateError;
use espalier_model::ModelError;
use espalier_plugins::PluginError;
use espalier_prune::PruneError;
use espalier_select::SelectError;
use std::{io, path::PathBuf};

/// The result of everything that a study does.
pub type Result<T, E = StudyError> = std::result::Result<T, E>;

/// Errors of studies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// The study file, or what it names, is not usable.
    #[error("{}:{line}:{column}: {message}", .path.display())]
    File {
        /// The study file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// The problem.
        message: String,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The study file cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A result cannot be written.
    #[error("{} cannot be written", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of results cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A result that was written before is not what it should be.
    #[error("{} is damaged: remove it, and run the study again", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A request that does not fit the study.
    #[error("{0}")]
    Request(String),
    /// The report cannot be rendered.
    #[error("the report cannot be rendered")]
    Report(#[source] minijinja::Error),
    /// A model cannot be read or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A model cannot be pruned.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// Calibration windows cannot be chosen.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A model cannot be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Data cannot be used.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// A plugin cannot be used.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The run was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl StudyError {
    /// The error and its causes in one text.
    pub fn chain(&self) -> String {
        causes(self).join("; because: ")
    }
}
