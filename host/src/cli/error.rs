//! Errors of commands.

use super::new::NewPluginError;
use espalier_base::{interrupt, output::OutputError};
use espalier_data::CalibrationError;
use espalier_device::DeviceError;
use espalier_evaluate::EvaluateError;
use espalier_model::{
    ModelError, archive::ArchiveError, checkpoint::CheckpointError, config::ConfigError,
    resolve::ResolveError, writer::WriteError,
};
use espalier_plugins::PluginError;
use espalier_prune::{PruneError, TargetsError, verify::VerifyError};
use espalier_sdk::Code;
use espalier_select::SelectError;
use espalier_study::StudyError;

/// Errors of commands.
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
    NewPlugin(#[from] NewPluginError),
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
    #[error("what is asked cannot be read from standard input")]
    Stdin(#[source] std::io::Error),
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

impl From<ArchiveError> for CliError {
    fn from(error: ArchiveError) -> Self {
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

/// The exit code of a study that continues when it is run again (`EX_TEMPFAIL`).
const TRY_AGAIN: u8 = 75;

/// The exit code where what was given cannot be used, as clap's for its own errors.
const BAD_INPUT: u8 = 2;

/// The exit code where something failed on the way.
const FAILED: u8 = 1;

impl CliError {
    /// The exit code of the process.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Again(_) => TRY_AGAIN,
            // What fails after Ctrl-C fails because of it.
            Self::Study(_) if interrupt::check().is_err() => TRY_AGAIN,
            _ if interrupt::check().is_err() => INTERRUPTED,
            _ if self.is_failure() => FAILED,
            _ => BAD_INPUT,
        }
    }

    /// Whether something failed on the way: a disk, a device, a plugin. Everything else is about what was given.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Model(error) => model(error),
            Self::Prune(error) => prune(error),
            Self::Plugin(error) => plugin(error),
            Self::Evaluate(error) => evaluate(error),
            Self::Select(error) => select(error),
            Self::Output(error) => output(error),
            Self::Study(error) => study(error),
            Self::NewPlugin(error) => error.is_failure(),
            Self::Interrupted(_)
            | Self::PluginProcess(_)
            | Self::Again(_)
            | Self::Failed(_)
            | Self::Signal(_)
            | Self::Stdout(_)
            | Self::Json(_) => true,
            Self::Calibration(_)
            | Self::Targets(_)
            | Self::NoCalibration { .. }
            | Self::Verify(_)
            | Self::Stdin(_)
            | Self::Usage(_) => false,
        }
    }
}

fn model(error: &ModelError) -> bool {
    match error {
        ModelError::Write(error) => write(error),
        ModelError::Archive(error) => archive(error),
        ModelError::Device(source) | ModelError::Block { source, .. } | ModelError::Tensor { source, .. } => {
            device(source)
        }
        ModelError::Checkpoint(CheckpointError::Changed { .. } | CheckpointError::Read { .. })
        | ModelError::Spill(_)
        | ModelError::HiddenStates { .. }
        | ModelError::Interrupted(_)
        | ModelError::Thread(_) => true,
        _ => false,
    }
}

fn archive(error: &ArchiveError) -> bool {
    match error {
        ArchiveError::Output(error) => output(error),
        ArchiveError::Checkpoint(CheckpointError::Changed { .. } | CheckpointError::Read { .. })
        | ArchiveError::Interrupted(_) => true,
        _ => false,
    }
}

fn device(error: &DeviceError) -> bool {
    !matches!(error, DeviceError::NoAdapter(_))
}

fn write(error: &WriteError) -> bool {
    if let WriteError::Pack(error) = error {
        return archive(error);
    }
    !matches!(
        error,
        WriteError::Exists(_)
            | WriteError::NotReplaced { .. }
            | WriteError::NotPartial(_)
            | WriteError::Overlaps { .. }
            | WriteError::NoName(_)
            | WriteError::Archive(_)
    )
}

fn prune(error: &PruneError) -> bool {
    match error {
        PruneError::Model(error) => model(error),
        PruneError::Write(error) => write(error),
        PruneError::Plugin(error) => plugin(error),
        PruneError::Device { source, .. } => device(source),
        PruneError::Measuring(source) => device(source),
        PruneError::Interrupted(_)
        | PruneError::Manifest(_)
        | PruneError::Method { .. }
        | PruneError::Returned { .. } => true,
        _ => false,
    }
}

fn plugin(error: &PluginError) -> bool {
    match error {
        PluginError::Output(error) => output(error),
        PluginError::Apart(_) | PluginError::TrustList { .. } => true,
        // Options of the wrong kind are refused; anything else is the plugin's own failure.
        PluginError::Options { source, .. } => source.code != Code::InvalidInput,
        _ => false,
    }
}

fn evaluate(error: &EvaluateError) -> bool {
    match error {
        EvaluateError::Model(error) => model(error),
        EvaluateError::Output(error) => output(error),
        EvaluateError::Interrupted(_) => true,
        _ => false,
    }
}

fn select(error: &SelectError) -> bool {
    match error {
        SelectError::Model(error) => model(error),
        SelectError::Plugin(error) => plugin(error),
        SelectError::Device(error) => device(error),
        SelectError::Output(error) => output(error),
        SelectError::Interrupted(_) | SelectError::Selector { .. } => true,
        _ => false,
    }
}

fn study(error: &StudyError) -> bool {
    match error {
        StudyError::Model(error) => model(error),
        StudyError::Prune(error) => prune(error),
        StudyError::Plugin(error) => plugin(error),
        StudyError::Evaluate(error) => evaluate(error),
        StudyError::Select(error) => select(error),
        StudyError::Device(error) => device(error),
        StudyError::Output(error) => output(error),
        StudyError::Write { .. } | StudyError::Malformed { .. } | StudyError::Interrupted(_) => true,
        _ => false,
    }
}

fn output(error: &OutputError) -> bool {
    matches!(error, OutputError::Write { .. })
}
