//! Finding adapters, and what `host devices` says of them.

use serde::Serialize;
use std::{fmt, str::FromStr};

/// A graphics interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Vulkan.
    Vulkan,
    /// Metal.
    Metal,
    /// Direct3D 12.
    Dx12,
    /// OpenGL (ES), the last resort.
    Gl,
}

impl Backend {
    /// Every backend, the preferred ones first.
    pub const ALL: [Self; 4] = [Self::Vulkan, Self::Metal, Self::Dx12, Self::Gl];

    fn wgpu(self) -> wgpu::Backends {
        match self {
            Self::Vulkan => wgpu::Backends::VULKAN,
            Self::Metal => wgpu::Backends::METAL,
            Self::Dx12 => wgpu::Backends::DX12,
            Self::Gl => wgpu::Backends::GL,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Dx12 => "dx12",
            Self::Gl => "gl",
        })
    }
}

/// A text that names no backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a backend: choose vulkan, metal, dx12 or gl")]
pub struct ParseBackendError(String);

impl FromStr for Backend {
    type Err = ParseBackendError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|backend| backend.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParseBackendError(text.to_owned()))
    }
}

/// The type of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterType {
    /// A card with its own memory.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU handed to a virtual machine.
    Virtual,
    /// The driver does not say.
    Other,
    /// No GPU at all: a driver that computes on the processor. For tests.
    Software,
}

impl fmt::Display for AdapterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        })
    }
}

/// The limits of an adapter that matter here.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterLimits {
    /// The largest buffer, in bytes.
    pub max_buffer_size: u64,
    /// The most of a buffer that a kernel sees at once, in bytes.
    pub max_storage_buffer_binding_size: u64,
    /// The most buffers that a kernel sees at once.
    pub max_storage_buffers: u32,
    /// Memory that a workgroup shares, in bytes.
    pub max_workgroup_memory: u32,
    /// Invocations in a workgroup.
    pub max_workgroup_invocations: u32,
    /// Workgroups along one dimension of a dispatch.
    pub max_workgroups_per_dimension: u32,
    /// Parameters of a dispatch, in bytes.
    pub max_immediate_size: u32,
}

/// Which of the features that kernels know an adapter has.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterFeatures {
    /// Parameters handed over with a dispatch; required.
    pub immediates: bool,
    /// Operations among the invocations of a subgroup.
    pub subgroups: bool,
    /// The least and the most invocations in a subgroup.
    pub subgroup_size: [u32; 2],
    /// Arithmetic in f16.
    pub shader_f16: bool,
    /// Timing of dispatches.
    pub timestamp_query: bool,
    /// Products of small matrices done by a subgroup together, as `m×n×k inputs→result`.
    pub cooperative_matrix: Vec<String>,
}

/// The report of `host devices` on an adapter.
#[derive(Debug, Clone, Serialize)]
pub struct AdapterReport {
    /// The number that `--adapter` takes.
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// The interface that reaches it.
    pub backend: Backend,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: AdapterType,
    /// The driver's name.
    pub driver: String,
    /// The driver's version and whatever else it says.
    pub driver_info: String,
    /// The maker's number (PCI as a rule).
    pub vendor: u32,
    /// The device's number (PCI as a rule).
    pub device: u32,
    /// Its own memory in bytes, where the interface tells.
    pub memory_bytes: Option<u64>,
    /// Whether it is no GPU but a driver that computes on the processor.
    pub is_software: bool,
    /// Its limits.
    pub limits: AdapterLimits,
    /// Its features.
    pub features: AdapterFeatures,
}

impl AdapterReport {
    /// Whether kernels run on it at all.
    pub fn usable(&self) -> bool {
        self.features.immediates && self.limits.max_immediate_size >= 64
    }
}

/// The features for kernels with cooperative matrices.
pub(super) const COOPERATIVE_FEATURES: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SUBGROUP);

/// An adapter of this machine.
#[derive(Debug, Clone)]
pub struct Adapter {
    inner: wgpu::Adapter,
    report: AdapterReport,
}

impl Adapter {
    /// Its report.
    pub fn report(&self) -> &AdapterReport {
        &self.report
    }

    pub(super) fn inner(&self) -> &wgpu::Adapter {
        &self.inner
    }

    /// The side of the square matrices of f16 whose products a subgroup adds up in f32, where there are such.
    pub(super) fn matrix_side(&self) -> Option<u32> {
        use wgpu::CooperativeScalarType::{F16, F32};
        if !self.inner.features().contains(COOPERATIVE_FEATURES) {
            return None;
        }
        let shapes = self.inner.cooperative_matrix_properties();
        let has = |side: &u32| {
            shapes.iter().any(|shape| {
                [shape.m_size, shape.n_size, shape.k_size] == [*side; 3]
                    && (shape.ab_type, shape.cr_type) == (F16, F32)
                    && !shape.saturating_accumulation
            })
        };
        [16, 8].into_iter().find(has)
    }
}

/// The adapters that these backends reach, in their order and within one as the driver lists them. With
/// [`Backend::ALL`] their numbers are those of `host devices`.
///
/// The environment variables of wgpu (`WGPU_VALIDATION`, `WGPU_DEBUG`, …) turn its checks on.
pub fn enumerate(backends: &[Backend]) -> Vec<Adapter> {
    let mut adapters = Vec::new();
    for &backend in backends {
        if !wgpu::Instance::enabled_backend_features().contains(backend.wgpu()) {
            continue;
        }
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: backend.wgpu(),
            flags: wgpu::InstanceFlags::empty().with_env(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        for inner in pollster::block_on(instance.enumerate_adapters(backend.wgpu())) {
            let report = report(adapters.len(), backend, &inner);
            adapters.push(Adapter { inner, report });
        }
    }
    adapters
}

fn report(index: usize, backend: Backend, adapter: &wgpu::Adapter) -> AdapterReport {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let features = adapter.features();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterType::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterType::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterType::Virtual,
        wgpu::DeviceType::Other => AdapterType::Other,
        wgpu::DeviceType::Cpu => AdapterType::Software,
    };
    AdapterReport {
        index,
        name: info.name,
        backend,
        kind,
        driver: info.driver,
        driver_info: info.driver_info,
        vendor: info.vendor,
        device: info.device,
        memory_bytes: memory_bytes(backend, adapter),
        is_software: kind == AdapterType::Software,
        limits: AdapterLimits {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            max_immediate_size: limits.max_immediate_size,
        },
        features: AdapterFeatures {
            immediates: features.contains(wgpu::Features::IMMEDIATES),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            subgroup_size: [info.subgroup_min_size, info.subgroup_max_size],
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            timestamp_query: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            cooperative_matrix: cooperative_matrix(adapter, features),
        },
    }
}

fn cooperative_matrix(adapter: &wgpu::Adapter, features: wgpu::Features) -> Vec<String> {
    if !features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        return Vec::new();
    }
    adapter
        .cooperative_matrix_properties()
        .iter()
        .map(|shape| {
            let inputs = format!("{:?}", shape.ab_type).to_lowercase();
            let result = format!("{:?}", shape.cr_type).to_lowercase();
            format!("{}x{}x{} {inputs}->{result}", shape.m_size, shape.n_size, shape.k_size)
        })
        .collect()
}

/// The size of the largest heap of device-local memory.
#[cfg(any(windows, target_os = "linux", target_os = "android"))]
fn memory_bytes(backend: Backend, adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`
    const DEVICE_LOCAL: u32 = 1;
    if backend != Backend::Vulkan {
        return None;
    }
    // SAFETY: the handle is only asked for its properties, and nothing of it is kept or destroyed.
    let properties = unsafe {
        let adapter = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = adapter.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(adapter.raw_physical_device())
    };
    let heaps = properties.memory_heaps_as_slice().iter();
    heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

/// The interfaces of this system do not tell.
#[cfg(not(any(windows, target_os = "linux", target_os = "android")))]
fn memory_bytes(_: Backend, _: &wgpu::Adapter) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::Backend;

    #[test]
    fn backends_are_named_as_on_the_command_line() {
        for backend in Backend::ALL {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert_eq!("DX12".parse(), Ok(Backend::Dx12));
        assert!("cuda".parse::<Backend>().is_err());
    }
}
