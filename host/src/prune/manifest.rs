//! The manifest, `espalier.json`: everything that made a pruned model what it is.

use super::{LayerReport, Targets};
use crate::{device::DeviceInfo, plugins::PluginRecord, select::CalibrationRecord};
use serde::Serialize;

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
