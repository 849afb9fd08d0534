//! The manifest, `espalier.json`: everything that made a pruned model what it is.

use super::{Decision, LayerReport, MemoryPlan, Targets};
use espalier_device::DeviceInfo;
use espalier_model::writer::FileRecord;
use espalier_plugins::PluginRecord;
use espalier_select::CalibrationRecord;
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// The stages, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<PluginRecord>,
    /// The seed of the methods' own draws.
    pub seed: u64,
    /// Which layers were to be pruned, and how much of each.
    pub targets: Targets,
    /// What stages that see the whole model have decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decision>,
    /// What is left out of the model, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Whether statistics were taken behind predecessors that were already pruned.
    pub propagate: bool,
    /// The share of zeros reached over all pruned layers.
    pub reached: f64,
    /// The calibration data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationRecord>,
    /// The device.
    pub device: DeviceInfo,
    /// The placement of memory, as planned and as measured.
    pub memory: MemoryRecord,
    /// Wall time of the run, in seconds.
    pub seconds: f64,
    /// How many blocks were finished by earlier runs, which this one continued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continued: Option<usize>,
    /// Tensors that the model's configuration makes no use of: they were copied as they are, and do not count in
    /// `reached`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unused_tensors: Vec<String>,
    /// The SHA-256 of everything that determined the result.
    pub fingerprint: String,
    /// How many runs shared this time, and one dense pass through the model; absent where this was the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<usize>,
    /// Every pruned layer.
    pub layers: Vec<LayerReport>,
    /// Every other file of the output.
    pub files: BTreeMap<String, FileRecord>,
}

/// The memory of a run.
#[derive(Debug, Serialize)]
pub struct MemoryRecord {
    /// The plan.
    pub plan: MemoryPlan,
    /// The most bytes that tensors held on the device at one time.
    pub device_peak_bytes: u64,
    /// The most bytes that the process held in the host's memory, mapped pages of the checkpoint counted; absent
    /// where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_peak_bytes: Option<u64>,
}
