//! Which device to take: a discrete GPU, else an integrated or virtual one, else the CPU. A software
//! adapter, slower than the CPU device, is only taken when it is asked for.

use super::{
    Compute, Device, DeviceError, Result,
    cpu::Cpu,
    gpu::{Adapter, AdapterReport, AdapterType, Backend, Gpu, GpuOptions, enumerate},
};
use std::{fmt, str::FromStr, sync::Arc};

/// The value of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best GPU, else the CPU.
    #[default]
    Auto,
    /// A GPU, or else an error.
    Gpu,
    /// The CPU.
    Cpu,
}

/// A text that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device: choose auto, gpu or cpu")]
pub struct ParseDeviceChoiceError(String);

impl FromStr for DeviceChoice {
    type Err = ParseDeviceChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            _ => Err(ParseDeviceChoiceError(text.to_owned())),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
        })
    }
}

/// The device that the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct DeviceRequest {
    /// `--device`
    pub choice: DeviceChoice,
    /// `--backend`, which asks for a GPU.
    pub backend: Option<Backend>,
    /// `--adapter`, which asks for a GPU: its number in `host devices`, or a part of its name.
    pub adapter: Option<String>,
    /// `--compute`: what products with weights round their operands to.
    pub compute: Compute,
}

/// Opens the device that was asked for.
///
/// # Errors
/// No device matches, or it cannot be opened.
pub fn open(request: &DeviceRequest) -> Result<Arc<dyn Device>> {
    let names_gpu = request.backend.is_some() || request.adapter.is_some();
    match request.choice {
        DeviceChoice::Cpu if names_gpu => Err(DeviceError::NoAdapter(
            "--backend and --adapter choose a GPU, but --device cpu asks for none; leave one of them out"
                .to_owned(),
        )),
        DeviceChoice::Cpu => Ok(Arc::new(Cpu::computing(request.compute))),
        DeviceChoice::Auto if !names_gpu => Ok(open_auto(request.compute)),
        DeviceChoice::Auto | DeviceChoice::Gpu => {
            let adapters = enumerate(&Backend::ALL);
            let reports: Vec<_> = adapters.iter().map(Adapter::report).collect();
            let taken = pick(&reports, request).ok_or_else(|| none_found(&reports, request))?;
            Ok(Arc::new(Gpu::open(&adapters[taken], options(request.compute))?))
        }
    }
}

/// The adapter that `auto` takes, as `host devices` marks it; none if it takes the CPU.
pub fn auto_choice(reports: &[&AdapterReport]) -> Option<usize> {
    let usable = reports.iter().enumerate().filter(|(_, report)| !report.is_software && report.usable());
    // The first of the best: `min_by_key` keeps the earlier of two.
    usable.min_by_key(|(_, report)| rank(report.kind)).map(|(place, _)| place)
}

fn options(compute: Compute) -> GpuOptions {
    GpuOptions { compute, ..GpuOptions::default() }
}

fn open_auto(compute: Compute) -> Arc<dyn Device> {
    if let Some(adapter) = auto_adapter() {
        match Gpu::open(&adapter, options(compute)) {
            Ok(gpu) => return Arc::new(gpu),
            Err(error) => {
                let name = &adapter.report().name;
                tracing::warn!(error = &error as &dyn std::error::Error, "`{name}` is not used, but the CPU");
            }
        }
    }
    Arc::new(Cpu::computing(compute))
}

fn auto_adapter() -> Option<Adapter> {
    // OpenGL only where nothing else reaches a GPU: looking for it loads and may print a lot.
    [&Backend::ALL[..3], &Backend::ALL[3..]].into_iter().find_map(|backends| {
        let mut adapters = enumerate(backends);
        let reports: Vec<_> = adapters.iter().map(Adapter::report).collect();
        auto_choice(&reports).map(|taken| adapters.swap_remove(taken))
    })
}

/// The place of the adapter that was asked for.
fn pick(reports: &[&AdapterReport], request: &DeviceRequest) -> Option<usize> {
    let wanted = reports.iter().enumerate().filter(|(_, report)| {
        let adapter_fits = request.adapter.as_deref().is_none_or(|adapter| match adapter.parse::<usize>() {
            Ok(index) => report.index == index,
            Err(_) => report.name.to_lowercase().contains(&adapter.to_lowercase()),
        });
        adapter_fits && request.backend.is_none_or(|backend| report.backend == backend)
    });
    // One that no kernel runs on is still taken if there is no other: opening it says what is missing.
    wanted.min_by_key(|(_, report)| (!report.usable(), rank(report.kind))).map(|(place, _)| place)
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

fn none_found(reports: &[&AdapterReport], request: &DeviceRequest) -> DeviceError {
    let wanted = match (request.backend, &request.adapter) {
        (None, None) => "no GPU was found".to_owned(),
        (Some(backend), None) => format!("no GPU was found through {backend}"),
        (None, Some(adapter)) => format!("no GPU is named or numbered `{adapter}`"),
        (Some(backend), Some(adapter)) => {
            format!("no GPU through {backend} is named or numbered `{adapter}`")
        }
    };
    let found = if reports.is_empty() {
        "this machine has no adapter that a driver of Vulkan, Metal, Direct3D 12 or OpenGL shows".to_owned()
    } else {
        let names: Vec<_> = reports
            .iter()
            .map(|report| format!("{} `{}` ({})", report.index, report.name, report.backend))
            .collect();
        format!("found: {}", names.join(", "))
    };
    DeviceError::NoAdapter(format!(
        "{wanted}; {found}. Install the GPU's driver, choose another with --backend or --adapter (`host devices` \
         lists them), or use --device cpu"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterFeatures, AdapterLimits};

    fn report(index: usize, name: &str, backend: Backend, kind: AdapterType) -> AdapterReport {
        AdapterReport {
            index,
            name: name.to_owned(),
            backend,
            kind,
            driver: String::new(),
            driver_info: String::new(),
            vendor: 0,
            device: 0,
            memory_bytes: None,
            is_software: kind == AdapterType::Software,
            limits: AdapterLimits {
                max_buffer_size: 1 << 30,
                max_storage_buffer_binding_size: 1 << 27,
                max_storage_buffers: 8,
                max_workgroup_memory: 16 << 10,
                max_workgroup_invocations: 256,
                max_workgroups_per_dimension: 65_535,
                max_immediate_size: 128,
            },
            features: AdapterFeatures {
                immediates: true,
                subgroups: false,
                subgroup_size: [4, 128],
                shader_f16: false,
                timestamp_query: false,
                cooperative_matrix: Vec::new(),
            },
        }
    }

    fn machine() -> Vec<AdapterReport> {
        vec![
            report(0, "llvmpipe", Backend::Vulkan, AdapterType::Software),
            report(1, "Iris Xe", Backend::Vulkan, AdapterType::Integrated),
            report(2, "GeForce RTX", Backend::Vulkan, AdapterType::Discrete),
            report(3, "GeForce RTX", Backend::Gl, AdapterType::Discrete),
        ]
    }

    fn picked(reports: &[AdapterReport], backend: Option<Backend>, adapter: Option<&str>) -> Option<usize> {
        let request = DeviceRequest {
            choice: DeviceChoice::Gpu,
            backend,
            adapter: adapter.map(ToOwned::to_owned),
            compute: Compute::F32,
        };
        let reports: Vec<_> = reports.iter().collect();
        pick(&reports, &request).map(|place| reports[place].index)
    }

    #[test]
    fn auto_prefers_a_discrete_gpu_and_never_takes_software() {
        let mut machine = machine();
        let auto = |machine: &[AdapterReport]| auto_choice(&machine.iter().collect::<Vec<_>>());
        assert_eq!(auto(&machine), Some(2));
        machine[2].features.immediates = false;
        assert_eq!(auto(&machine), Some(3));
        machine.truncate(2);
        assert_eq!(auto(&machine), Some(1));
        machine.truncate(1);
        assert_eq!(auto(&machine), None);
    }

    #[test]
    fn a_gpu_is_picked_by_backend_name_and_number() {
        let machine = machine();
        assert_eq!(picked(&machine, None, None), Some(2));
        assert_eq!(picked(&machine, Some(Backend::Gl), None), Some(3));
        assert_eq!(picked(&machine, None, Some("iris")), Some(1));
        assert_eq!(picked(&machine, None, Some("0")), Some(0));
        assert_eq!(picked(&machine, Some(Backend::Gl), Some("2")), None);
        assert_eq!(picked(&machine[..1], None, None), Some(0));
        assert_eq!(picked(&machine, Some(Backend::Metal), None), None);
    }

    #[test]
    fn a_missing_gpu_is_told_with_what_was_found() {
        let machine = machine();
        let request = DeviceRequest { adapter: Some("radeon".to_owned()), ..DeviceRequest::default() };
        let message = none_found(&machine.iter().collect::<Vec<_>>(), &request).to_string();
        assert!(message.starts_with("no GPU is named or numbered `radeon`; found: 0 `llvmpipe` (vulkan), "));
        assert!(message.ends_with("or use --device cpu"));
    }

    #[test]
    fn the_cpu_cannot_be_a_gpu() {
        let request = DeviceRequest {
            choice: DeviceChoice::Cpu,
            backend: Some(Backend::Vulkan),
            ..DeviceRequest::default()
        };
        let error = open(&request).err().expect("a contradiction");
        assert!(error.to_string().contains("--device cpu asks for none"));
    }
}
