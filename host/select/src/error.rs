//! Errors of selections.

use espalier_base::{interrupt::Interrupted, output::OutputError};
use espalier_data::CalibrationError;
use espalier_device::DeviceError;
use espalier_model::ModelError;
use espalier_plugins::PluginError;
use std::path::PathBuf;

/// The result of selecting.
pub type Result<T, E = SelectError> = std::result::Result<T, E>;

/// Errors of selections.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The data is not usable.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The selector cannot be had.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The model is not usable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device does not open.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The selection was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The selector failed, or did what it must not.
    #[error("the selector {selector} cannot choose calibration windows")]
    Selector {
        /// Its name.
        selector: String,
        /// Its error, or the host's.
        source: espalier_sdk::Error,
    },
    /// The documents do not suffice.
    #[error("the selector {selector} found {found}, where {wanted} are wanted: {why}")]
    TooFew {
        /// Its name.
        selector: String,
        /// The windows there are.
        found: String,
        /// The windows there should be.
        wanted: String,
        /// The shortage, and what to do.
        why: String,
    },
    /// A budget in tokens for windows that are taken as they are.
    #[error(
        "ready windows are taken whole: say how many with --samples, or cut them anew with --windows pad"
    )]
    ReadyTokens,
    /// Ready windows of which it is not known what is an answer.
    #[error(
        "rows of `input_ids` do not say which tokens are answers: give each a `loss_mask`, as `host select --loss-mask answers` \
         does, or calibrate on the rows that they were made of"
    )]
    ReadyAnswers,
    /// A file of windows that cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A file of windows that cannot be compared with.
    #[error("{}, line {line} is not a row of windows.jsonl", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}
