//! Kernels that a plugin brings along.

use crate::{Access, Error, Result};

/// A compute kernel in WGSL, with an optional twin for the CPU.
///
/// Its bindings are storage buffers of group 0, numbered from 0 in the order of
/// [`bindings`](Kernel::bindings); each holds a whole tensor, row by row. Its parameters are one
/// `var<immediate>` block. Its entry point is `main`. Workgroups are counted in one number: a kernel takes
/// its own as `id.x + id.y * num_workgroups.x` and returns where that is not below the number it was
/// dispatched with, because no device takes more than 65,535 in one dimension.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// A name for messages; together with the source it identifies the kernel.
    pub name: &'static str,
    /// The WGSL source.
    pub wgsl: &'static str,
    /// How it uses its bindings, in order.
    pub bindings: &'static [Access],
    /// The same computation for a CPU device: the bindings in order, and the parameters.
    pub cpu: Option<Twin>,
}

/// A kernel's CPU twin: the whole dispatch in one call, given the bindings in order and the parameters.
pub type Twin = fn(&mut [Buffer<'_>], &[u8]) -> Result<()>;

/// A binding of a kernel's CPU twin.
#[derive(Debug)]
pub enum Buffer<'a> {
    /// Of [`Access::Read`].
    Read(&'a [u32]),
    /// Of [`Access::Write`].
    Write(&'a mut [u32]),
}

impl Buffer<'_> {
    /// The elements of an f32 tensor.
    pub fn f32(&self) -> &[f32] {
        bytemuck::cast_slice(self.u32())
    }

    /// The elements of a u32 tensor, as the words of a [`Mask`](crate::Mask).
    pub fn u32(&self) -> &[u32] {
        match self {
            Self::Read(words) => words,
            Self::Write(words) => words,
        }
    }

    /// The elements of an f32 tensor, to write to.
    ///
    /// # Errors
    /// The binding is [`Access::Read`].
    pub fn f32_mut(&mut self) -> Result<&mut [f32]> {
        match self {
            Self::Read(_) => Err(Error::invalid("a CPU twin writes to a binding that its kernel only reads")),
            Self::Write(words) => Ok(bytemuck::cast_slice_mut(words)),
        }
    }
}
