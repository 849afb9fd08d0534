//! Which device to take: a discrete GPU, else another GPU, else the CPU. A software driver is for tests
//! and is never taken by itself.

use super::{
    Device, DeviceError, DeviceInfo, Result,
    cpu::Cpu,
    gpu::{Adapter, AdapterType, Backend, Gpu, GpuOptions, enumerate},
};
use std::{str::FromStr, sync::Arc};

/// What sort of device is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best GPU, or the CPU where there is none.
    #[default]
    Auto,
    /// A GPU; a software driver where there is no other, or where it is named.
    Gpu,
    /// The CPU.
    Cpu,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            _ => Err(format!("`{text}` is no device: choose auto, gpu or cpu")),
        }
    }
}

/// Which device is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceRequest {
    /// What sort.
    pub choice: DeviceChoice,
    /// Only adapters of this backend.
    pub backend: Option<Backend>,
    /// Only the adapter of this number, or those whose name contains this text.
    pub adapter: Option<String>,
}

impl DeviceRequest {
    fn names_a_gpu(&self) -> bool {
        self.backend.is_some() || self.adapter.is_some()
    }

    fn fits(&self, adapter: &Adapter) -> bool {
        let report = adapter.report();
        let named = |name: &String| match name.parse::<usize>() {
            Ok(index) => report.index == index,
            Err(_) => report.name.to_lowercase().contains(&name.to_lowercase()),
        };
        self.backend.is_none_or(|backend| report.backend == backend)
            && self.adapter.as_ref().is_none_or(named)
    }
}

/// Opens the device that is wanted.
///
/// # Errors
/// A GPU is wanted and none fits, or the driver refuses.
pub fn open(request: &DeviceRequest) -> Result<Arc<dyn Device>> {
    if request.choice == DeviceChoice::Cpu {
        return if request.names_a_gpu() {
            Err(DeviceError::NoAdapter(
                "--backend and --adapter choose a GPU, but --device is cpu".to_owned(),
            ))
        } else {
            Ok(Arc::new(Cpu::new()))
        };
    }
    match choose(request)? {
        Some(adapter) => Ok(Arc::new(Gpu::open(&adapter, GpuOptions::default())?)),
        None => Ok(Arc::new(Cpu::new())),
    }
}

/// The device that `--device auto` takes.
///
/// # Errors
/// None as yet: without a GPU it is the CPU.
pub fn auto_choice() -> Result<DeviceInfo> {
    Ok(match choose(&DeviceRequest::default())? {
        Some(adapter) => DeviceInfo::of_adapter(adapter.report()),
        None => Cpu::new().info().clone(),
    })
}

/// The adapter to take, or none for the CPU.
fn choose(request: &DeviceRequest) -> Result<Option<Adapter>> {
    let all = enumerate();
    // A software driver has to be asked for, by name or by asking for any GPU there is.
    let software_too = request.choice == DeviceChoice::Gpu || request.names_a_gpu();
    let best = all
        .iter()
        .filter(|adapter| request.fits(adapter))
        .filter(|adapter| software_too || !adapter.report().is_software)
        .min_by_key(|adapter| (rank(adapter.report().kind), adapter.report().index));
    match best {
        Some(adapter) => Ok(Some(adapter.clone())),
        None if software_too => Err(DeviceError::NoAdapter(none_fits(request, &all))),
        None => Ok(None),
    }
}

fn rank(kind: AdapterType) -> u32 {
    match kind {
        AdapterType::Discrete => 0,
        AdapterType::Integrated => 1,
        AdapterType::Virtual => 2,
        AdapterType::Other => 3,
        AdapterType::Software => 4,
    }
}

fn none_fits(request: &DeviceRequest, all: &[Adapter]) -> String {
    let mut wanted = "no GPU".to_owned();
    if let Some(adapter) = &request.adapter {
        wanted += &format!(" named or numbered `{adapter}`");
    }
    if let Some(backend) = request.backend {
        wanted += &format!(" of the backend {backend}");
    }
    let found: Vec<_> = all
        .iter()
        .map(|adapter| adapter.report())
        .map(|report| format!("{} {} ({}, {})", report.index, report.name, report.backend, report.kind))
        .collect();
    if found.is_empty() {
        format!("{wanted}: no adapter at all was found; install a Vulkan driver, or use --device cpu")
    } else {
        format!("{wanted}: there are {}; use one of these, or --device cpu", found.join(", "))
    }
}
