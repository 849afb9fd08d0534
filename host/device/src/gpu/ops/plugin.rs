//! Plugins' own kernels.

use crate::{
    Binding, DeviceError, KernelCall, Result, check,
    gpu::{Context, Dispatch, ops::source, panels},
};
use espalier_base::guard;
use espalier_shaders::{Access, Kernel};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The kernels that plugins have brought along so far. They are kept for as long as the process runs, as
/// plugins are.
#[derive(Debug, Default)]
pub struct PluginKernels(Mutex<HashMap<(String, usize), &'static Kernel>>);

impl PluginKernels {
    /// A kernel under a name of its own: two plugins may both call theirs `sweep`.
    fn get(&self, context: &Context, call: &KernelCall, params: usize) -> Result<&'static Kernel> {
        let mut kernels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (call.wgsl.to_owned(), params);
        if let Some(kernel) = kernels.get(&key) {
            return Ok(kernel);
        }
        let refused = |message: String| DeviceError::Invalid {
            operation: "run",
            message: format!("the kernel {}: {message}", call.name),
        };
        let checked = guard::catch(|| source::check(call.wgsl, params, context.limits()));
        checked.map_err(|panic| refused(panic.to_string()))?.map_err(refused)?;
        let number = kernels.len();
        Ok(kernels.entry(key).or_insert_with(|| {
            Box::leak(Box::new(Kernel {
                name: format!("{} (plugin kernel {number})", call.name).leak(),
                wgsl: call.wgsl.to_owned().leak(),
                bindings: call.bindings.to_vec().leak(),
                params: params as u32,
            }))
        }))
    }
}

/// As [`Device::run`](crate::Device::run).
///
/// # Errors
/// The kernel does not compile, the bindings are not those it declares, or a tensor is larger than one
/// binding.
pub fn run(
    context: &Context,
    kernels: &PluginKernels,
    call: &KernelCall,
    bindings: &[Binding],
    params: &[u8],
    workgroups: u32,
) -> Result<()> {
    let invalid = |message| DeviceError::Invalid { operation: "run", message };
    let declared = call.bindings.iter().map(|&access| access == Access::Write);
    if !declared.eq(bindings.iter().map(|binding| matches!(binding, Binding::Write(_)))) {
        let given = bindings.len();
        return Err(invalid(format!(
            "the kernel {} is given {given} bindings, not those it declares",
            call.name
        )));
    }
    if !params.len().is_multiple_of(4) {
        let given = params.len();
        return Err(invalid(format!(
            "the kernel {} is given {given} bytes of parameters: no whole words",
            call.name
        )));
    }
    let mut buffers = Vec::with_capacity(bindings.len());
    for binding in bindings {
        check::bound(call.name, binding)?;
        let tensor = match binding {
            Binding::Read(tensor) => *tensor,
            Binding::Write(tensor) => tensor,
        };
        let panels = panels(tensor)?;
        if panels.count() != 1 {
            return Err(DeviceError::Unsupported(format!(
                "the kernel {} is given a tensor of {} bytes, more than this device binds at once",
                call.name,
                tensor.bytes()
            )));
        }
        buffers.push(panels.binding(0));
    }
    let kernel = kernels.get(context, call, params.len())?;
    let dispatch =
        Dispatch { kernel, constants: &[], bindings: &buffers, params, workgroups: u64::from(workgroups) };
    guard::catch(|| context.dispatch(&dispatch)).map_err(|panic| DeviceError::Failed {
        operation: kernel.name.to_owned(),
        message: panic.to_string(),
    })?
}
