//! Plugins' own kernels on the CPU: their twins.

use super::memory::{bytes, bytes_mut};
use crate::{Binding, DeviceError, KernelCall, Result, check};
use espalier_sdk::Buffer;

pub(super) fn run(kernel: &KernelCall, bindings: &mut [Binding], params: &[u8]) -> Result<()> {
    let Some(twin) = kernel.cpu else {
        return Err(DeviceError::Unsupported(format!(
            "the kernel {} has no CPU twin, so it runs on a GPU only: choose one with --device gpu",
            kernel.name
        )));
    };
    let mut buffers = Vec::with_capacity(bindings.len());
    for binding in bindings {
        check::bound(kernel.name, binding)?;
        buffers.push(match binding {
            Binding::Read(x) => Buffer::Read(words(kernel.name, bytes(x)?)?),
            Binding::Write(x) => {
                Buffer::Write(bytemuck::try_cast_slice_mut(bytes_mut(x)?).map_err(|_| {
                    DeviceError::Unsupported(format!(
                        "a binding of the kernel {} is not aligned",
                        kernel.name
                    ))
                })?)
            }
        });
    }
    twin(&mut buffers, params).map_err(|error| DeviceError::Failed {
        operation: kernel.name.to_owned(),
        message: error.to_string(),
    })
}

fn words<'a>(kernel: &str, bytes: &'a [u8]) -> Result<&'a [u32]> {
    bytemuck::try_cast_slice(bytes)
        .map_err(|_| DeviceError::Unsupported(format!("a binding of the kernel {kernel} is not aligned")))
}
