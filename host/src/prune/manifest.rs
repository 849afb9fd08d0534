//! The manifest, `espalier.json`: everything that made a pruned model what it is.

use super::{LayerReport, Targets};
use crate::{device::DeviceInfo, plugins::Library};
use espalier_sdk::Options;
use serde::Serialize;
use std::path::PathBuf;

/// Everything that made a pruned model what it is.
#[derive(Debug, Serialize)]
pub struct Manifest {
    /// The version of this file's layout.
    pub format: u32,
    /// The host's version.
    pub espalier: &'static str,
    /// The model that was pruned, as it was named.
    pub model: String,
    /// The method and where it came from.
    pub method: PluginRecord,
    /// Which layers were to be pruned, and how much of each.
    pub targets: Targets,
    /// Whether statistics were taken behind predecessors that were already pruned.
    pub propagate: bool,
    /// The share of zeros reached over all pruned layers.
    pub reached: f64,
    /// The calibration data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationRecord>,
    /// The device.
    pub device: DeviceInfo,
    /// The most bytes that tensors held on the device at one time.
    pub device_peak_bytes: u64,
    /// Wall time of the run, in seconds.
    pub seconds: f64,
    /// Every pruned layer.
    pub layers: Vec<LayerReport>,
}

/// A method or selector, and the library it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PluginRecord {
    /// The method's or selector's name.
    pub name: String,
    /// The values of all its options.
    pub options: Options,
    /// The library's file.
    pub library: PathBuf,
    /// The library's crate and version.
    pub version: String,
}

impl PluginRecord {
    /// What there is to say of a method or selector of a library.
    pub fn new(name: String, options: Options, library: &Library) -> Self {
        let info = library.info();
        let version = format!("{} {}", info.name, info.version);
        Self { name, options, library: library.path().to_owned(), version }
    }
}

/// The calibration data of a run.
#[derive(Debug, Clone, Serialize)]
pub struct CalibrationRecord {
    /// The file.
    pub file: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// What chose the windows; absent where the file held windows already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<PluginRecord>,
    /// Windows used.
    pub samples: usize,
    /// Tokens in a window, at most.
    pub seqlen: usize,
    /// Tokens in all windows.
    pub tokens: usize,
    /// The seed of the draw.
    pub seed: u64,
    /// The generator of the draw.
    pub generator: &'static str,
    /// SHA-256 of all windows' tokens (little-endian u32, each window after its length).
    pub windows_sha256: String,
    /// The documents of each window, by number in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<Vec<usize>>,
}
