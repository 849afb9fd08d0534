//! What ends a command.

use espalier_base::interrupt;
use espalier_base::output::OutputError;
use espalier_data::CalibrationError;
use espalier_device::DeviceError;
use espalier_evaluate::EvaluateError;
use espalier_model::{
    ModelError, checkpoint::CheckpointError, config::ConfigError, resolve::ResolveError, writer::WriteError,
};
use espalier_plugins::PluginError;
use espalier_prune::verify::VerifyError;
use espalier_prune::{PruneError, TargetsError};
use espalier_select::SelectError;
use espalier_study::StudyError;

/// What ends a command.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Prune(#[from] PruneError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Targets(#[from] TargetsError),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error("the method {method} needs calibration data: give a file with --calibration")]
    NoCalibration { method: String },
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Study(#[from] StudyError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Interrupted(#[from] interrupt::Interrupted),
    #[error("the plugin process cannot begin: it is started by `host` alone")]
    PluginProcess(#[source] std::io::Error),
    #[error("{0}")]
    Again(String),
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Usage(String),
    #[error("Ctrl-C cannot be listened for")]
    Signal(#[from] ctrlc::Error),
    #[error("the result cannot be written to standard output")]
    Stdout(#[source] std::io::Error),
    #[error("the result cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl From<ResolveError> for CliError {
    fn from(error: ResolveError) -> Self {
        ModelError::from(error).into()
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        ModelError::from(error).into()
    }
}

impl From<CheckpointError> for CliError {
    fn from(error: CheckpointError) -> Self {
        ModelError::from(error).into()
    }
}

impl From<WriteError> for CliError {
    fn from(error: WriteError) -> Self {
        ModelError::from(error).into()
    }
}

impl From<DeviceError> for CliError {
    fn from(error: DeviceError) -> Self {
        ModelError::from(error).into()
    }
}

/// The exit code of a run that was interrupted, as shells count: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// The exit code of a study that goes on when it is run again (`EX_TEMPFAIL`).
const TRY_AGAIN: u8 = 75;

/// The exit code of a study or verification that cannot begin.
const BAD_INPUT: u8 = 2;

impl CliError {
    /// What the process ends with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Again(_) => TRY_AGAIN,
            // What fails after Ctrl-C fails because of it.
            Self::Study(_) if interrupt::check().is_err() => TRY_AGAIN,
            _ if interrupt::check().is_err() => INTERRUPTED,
            Self::Study(error) if error.is_bad_input() => BAD_INPUT,
            Self::Verify(_) => BAD_INPUT,
            _ => 1,
        }
    }
}
