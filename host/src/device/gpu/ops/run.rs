//! Plugins' own kernels.

use crate::device::{
    Binding, DeviceError, KernelCall, Result, check,
    gpu::{Context, Dispatch, Panels, panels},
};
use espalier_shaders::{Access, Kernel};
use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
};

/// As [`Device::run`](crate::device::Device::run).
///
/// # Errors
/// A kernel that does not compile, bindings that are not those it declares or are larger than the adapter
/// binds at once, or a failing device.
pub fn run(
    context: &Context,
    kernel: &KernelCall,
    bindings: &mut [Binding],
    params: &[u8],
    workgroups: u32,
) -> Result<()> {
    let invalid = |message| DeviceError::Invalid { operation: "run", message };
    let declared = kernel.bindings.iter().map(|&access| access == espalier_sdk::Access::Write);
    let given = bindings.iter().map(|binding| matches!(binding, Binding::Write(_)));
    if !declared.eq(given) {
        let count = bindings.len();
        return Err(invalid(format!(
            "the kernel {} is given {count} bindings that are not those it declares",
            kernel.name
        )));
    }
    if !params.len().is_multiple_of(4) {
        return Err(invalid(format!(
            "the kernel {} is given {} bytes of parameters, which are no whole words",
            kernel.name,
            params.len()
        )));
    }
    let bound = bindings.iter().map(|binding| bind(kernel.name, binding)).collect::<Result<Vec<_>>>()?;
    let kernel = keep(kernel, params.len() as u32);
    context.dispatch(&Dispatch {
        kernel,
        constants: &[],
        bindings: &bound,
        params,
        workgroups: u64::from(workgroups),
    })
}

fn bind<'a>(kernel: &str, binding: &'a Binding) -> Result<wgpu::BufferBinding<'a>> {
    check::bound(kernel, binding)?;
    let tensor = match binding {
        Binding::Read(tensor) => *tensor,
        Binding::Write(tensor) => &**tensor,
    };
    let panels: &Panels = panels("run", tensor)?;
    match panels.count() {
        1 => Ok(panels.binding(0)),
        0 => Err(DeviceError::Invalid {
            operation: "run",
            message: format!("the kernel {kernel} is given a tensor without elements"),
        }),
        _ => Err(DeviceError::Unsupported(format!(
            "the kernel {kernel} is given a tensor [{}, {}] of {} bytes, more than the adapter binds at once; use \
             --device cpu or another adapter",
            tensor.rows(),
            tensor.cols(),
            tensor.bytes()
        ))),
    }
}

/// The kernel as one that lives as long as the program, like all others. Libraries are never unloaded and
/// bring few kernels, each of which is kept once.
fn keep(kernel: &KernelCall, params: u32) -> &'static Kernel {
    type Key = (String, String, Vec<espalier_sdk::Access>, u32);
    static KEPT: OnceLock<Mutex<HashMap<Key, &'static Kernel>>> = OnceLock::new();
    let key = (kernel.name.to_owned(), kernel.wgsl.to_owned(), kernel.bindings.to_vec(), params);
    let mut kept = KEPT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    // Two libraries may choose one name: a number keeps their kernels apart.
    let number = kept.len();
    kept.entry(key).or_insert_with(|| {
        let access = |access: &espalier_sdk::Access| match access {
            espalier_sdk::Access::Read => Access::Read,
            espalier_sdk::Access::Write => Access::Write,
        };
        Box::leak(Box::new(Kernel {
            name: format!("{} (a plugin's, {number})", kernel.name).leak(),
            wgsl: kernel.wgsl.to_owned().leak(),
            bindings: kernel.bindings.iter().map(access).collect::<Vec<_>>().leak(),
            params,
        }))
    })
}
