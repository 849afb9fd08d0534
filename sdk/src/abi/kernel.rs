//! A plugin's own kernels at the border.

use super::{AbiResult, guard, plain};
use crate::{Access, Buffer, Error, Result, service::KernelCall};
use abi_stable::{
    StableAbi,
    std_types::{ROption, RSlice, RSliceMut, RStr},
};

/// [`KernelCall`] with a stable layout, borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct KernelAbi<'a> {
    name: RStr<'a>,
    wgsl: RStr<'a>,
    bindings: RSlice<'a, bool>,
    cpu: ROption<TwinAbi>,
}

/// A CPU twin: `call` is the SDK's code on the plugin's side, `context` is what it finds the twin by.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct TwinAbi {
    context: *const (),
    call: unsafe extern "C" fn(*const (), RSliceMut<'_, BufferAbi>, RSlice<'_, u8>) -> AbiResult<()>,
}

/// [`Buffer`] with a stable layout, borrowed for the call.
#[repr(C)]
#[derive(StableAbi)]
pub struct BufferAbi {
    words: *mut u32,
    len: usize,
    writable: bool,
}

type Twin<'a> = &'a dyn Fn(&mut [Buffer<'_>], &[u8]) -> Result<()>;

/// The plugin's end: hands a kernel to `then` in stable types, which live for that call.
pub(super) fn pack_kernel<T>(kernel: &KernelCall, then: impl FnOnce(KernelAbi) -> T) -> T {
    let bindings: Vec<bool> = kernel.bindings.iter().map(|access| *access == Access::Write).collect();
    let twin = kernel.cpu;
    let context: *const Option<Twin> = &raw const twin;
    then(KernelAbi {
        name: kernel.name.into(),
        wgsl: kernel.wgsl.into(),
        bindings: bindings.as_slice().into(),
        cpu: twin.map(|_| TwinAbi { context: context.cast(), call: call_twin }).into(),
    })
}

/// Runs on the plugin's side, called by the host.
///
/// # Safety
/// `context` points to the `Option<Twin>` that [`pack_kernel`] put there, and the buffers are valid and
/// distinct for the length of the call.
unsafe extern "C" fn call_twin(
    context: *const (),
    buffers: RSliceMut<'_, BufferAbi>,
    params: RSlice<'_, u8>,
) -> AbiResult<()> {
    guard(|| {
        // SAFETY: the caller's promise.
        let twin = unsafe { *context.cast::<Option<Twin>>() };
        let mut buffers: Vec<Buffer> = buffers
            .iter()
            .map(|buffer| match buffer.writable {
                // SAFETY: the caller's promise.
                true => Buffer::Write(unsafe { std::slice::from_raw_parts_mut(buffer.words, buffer.len) }),
                // SAFETY: the caller's promise.
                false => Buffer::Read(unsafe { std::slice::from_raw_parts(buffer.words, buffer.len) }),
            })
            .collect();
        twin.map_or(Ok(()), |twin| twin(&mut buffers, params.as_slice()))
    })
}

/// The host's end: hands a kernel to `then` in plain types.
pub(super) fn unpack_kernel<T>(kernel: KernelAbi, then: impl FnOnce(&KernelCall) -> Result<T>) -> Result<T> {
    let access = |writes: &bool| if *writes { Access::Write } else { Access::Read };
    let bindings: Vec<Access> = kernel.bindings.iter().map(access).collect();
    let twin = kernel.cpu.into_option();
    let call = |buffers: &mut [Buffer<'_>], params: &[u8]| -> Result<()> {
        let Some(twin) = twin else { return Err(Error::invalid("the kernel has no CPU twin")) };
        let mut raw: Vec<BufferAbi> = buffers
            .iter_mut()
            .map(|buffer| match buffer {
                Buffer::Read(words) => {
                    BufferAbi { words: words.as_ptr().cast_mut(), len: words.len(), writable: false }
                }
                Buffer::Write(words) => {
                    BufferAbi { words: words.as_mut_ptr(), len: words.len(), writable: true }
                }
            })
            .collect();
        // SAFETY: `context` is alive until the plugin's `pack_kernel` returns, which waits for this call; the
        // buffers are borrowed by `buffers`, so they are valid and distinct.
        plain(unsafe { (twin.call)(twin.context, raw.as_mut_slice().into(), params.into()) })
    };
    then(&KernelCall {
        name: kernel.name.as_str(),
        wgsl: kernel.wgsl.as_str(),
        bindings: &bindings,
        cpu: if twin.is_some() { Some(&call) } else { None },
    })
}
