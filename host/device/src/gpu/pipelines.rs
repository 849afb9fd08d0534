//! Compiled kernels.

use super::faults::{chain, guarded};
use crate::{DeviceError, Result};
use espalier_shaders::{Access, Kernel, all_kernels};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A kernel, compiled for one set of override constants.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// A kernel's name and the bits of its override constants.
type PipelineKey = (&'static str, Vec<(&'static str, u64)>);

/// The kernels compiled so far.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    modules: Mutex<HashMap<&'static str, wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<PipelineKey, Arc<Pipeline>>>,
}

impl Pipelines {
    /// The pipeline of a kernel for these constants, compiled the first time.
    ///
    /// # Errors
    /// The device cannot run the kernel; the message says why.
    pub(super) fn get(
        &self,
        device: &wgpu::Device,
        kernel: &'static Kernel,
        constants: &[(&'static str, f64)],
    ) -> Result<Arc<Pipeline>> {
        let key: PipelineKey =
            (kernel.name, constants.iter().map(|&(name, value)| (name, value.to_bits())).collect());
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let module = self.module(device, kernel)?;
        let pipeline = Arc::new(compile(device, kernel, &module, constants)?);
        pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn module(&self, device: &wgpu::Device, kernel: &'static Kernel) -> Result<wgpu::ShaderModule> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(kernel.name) {
            return Ok(module.clone());
        }
        let checks = wgpu::ShaderRuntimeChecks {
            // Every loop of the kernels is bounded by a parameter or a constant. The counters that would
            // be added to bound them once more keep drivers from unrolling.
            force_loop_bounding: false,
            ..wgpu::ShaderRuntimeChecks::checked()
        };
        let module = guarded(device, || {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(kernel.name),
                source: wgpu::ShaderSource::Wgsl(kernel.wgsl.into()),
            };
            if !is_own(kernel) {
                // Nothing is known of a plugin's loops.
                return device.create_shader_module(descriptor);
            }
            // SAFETY: only the bounding of loops is off, and no kernel loops for ever.
            unsafe { device.create_shader_module_trusted(descriptor, checks) }
        })
        .map_err(|error| failed(kernel, &error))?;
        modules.insert(kernel.name, module.clone());
        Ok(module)
    }
}

/// Whether a kernel is one of ours. A plugin's has a name that none of ours can have (see
/// `PluginKernels`).
fn is_own(kernel: &Kernel) -> bool {
    all_kernels().any(|own| own.name == kernel.name)
}

fn compile(
    device: &wgpu::Device,
    kernel: &'static Kernel,
    module: &wgpu::ShaderModule,
    constants: &[(&'static str, f64)],
) -> Result<Pipeline> {
    if kernel.params > device.limits().max_immediate_size {
        return Err(DeviceError::Failed {
            operation: format!("compiling the kernel `{}`", kernel.name),
            message: format!(
                "it takes {} bytes of parameters, the adapter at most {}",
                kernel.params,
                device.limits().max_immediate_size
            ),
        });
    }
    let entries: Vec<_> =
        kernel.bindings.iter().zip(0..).map(|(&access, binding)| entry(binding, access)).collect();
    guarded(device, || {
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(kernel.name),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: kernel.params,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: Some(&pipeline_layout),
            module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                // Of our own, no kernel reads workgroup memory that it has not written.
                zero_initialize_workgroup_memory: !is_own(kernel),
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    })
    .map_err(|error| failed(kernel, &error))
}

fn entry(binding: u32, access: Access) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: access == Access::Read },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}

fn failed(kernel: &Kernel, error: &wgpu::Error) -> DeviceError {
    DeviceError::Failed {
        operation: format!("compiling the kernel `{}`", kernel.name),
        message: chain(error),
    }
}
