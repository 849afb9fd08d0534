//! What ends a command.

use crate::{
    calibration::CalibrationError,
    device::DeviceError,
    evaluate::EvaluateError,
    interrupt::Interrupted,
    model::{
        ModelError, checkpoint::CheckpointError, config::ConfigError, resolve::ResolveError,
        writer::WriteError,
    },
    plugins::PluginError,
    prune::{PruneError, TargetsError},
    select::SelectError,
};
use std::error::Error;

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
    #[error("{} cannot be written", .path.display())]
    Profile { path: std::path::PathBuf, source: std::io::Error },
    #[error("{0}")]
    Usage(String),
    #[error("Ctrl-C cannot be listened for")]
    Signal(#[from] ctrlc::Error),
    #[error("the result cannot be written to standard output")]
    Output(#[source] std::io::Error),
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

impl CliError {
    /// Whether it is Ctrl-C and no fault.
    pub(super) fn is_interrupt(&self) -> bool {
        let mut error: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(this) = error {
            // Transparent wrappers are seen through by their own kind, not by `source`.
            let direct = matches!(
                this.downcast_ref(),
                Some(
                    Self::Model(ModelError::Interrupted(_))
                        | Self::Prune(PruneError::Interrupted(_))
                        | Self::Select(SelectError::Interrupted(_))
                )
            );
            let wrapped = matches!(
                this.downcast_ref(),
                Some(
                    Self::Prune(PruneError::Model(ModelError::Interrupted(_)))
                        | Self::Evaluate(
                            EvaluateError::Interrupted(_) | EvaluateError::Model(ModelError::Interrupted(_))
                        )
                )
            );
            if direct || wrapped || this.is::<Interrupted>() {
                return true;
            }
            error = this.source();
        }
        false
    }
}
