//! Kernels that a plugin brings along.

use crate::{Access, Error, Result};

/// A compute kernel in WGSL, with an optional twin for the CPU.
///
/// Its bindings are storage buffers of group 0, numbered from 0 in the order of
/// [`bindings`](Kernel::bindings); each holds a whole tensor, row by row. Its parameters are one
/// `var<immediate>` block. Its entry point is `main`. Workgroups are counted in one number: a kernel takes
/// its own as `id.x + id.y * num_workgroups.x` and returns where that is not below the number it was
/// dispatched with, because no device takes more than 65,535 in one dimension.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// const HALVE: Kernel = Kernel {
///     name: "halve",
///     wgsl: "
///         @group(0) @binding(0) var<storage, read_write> x: array<f32>;
///         var<immediate> count: u32;
///
///         @compute @workgroup_size(256)
///         fn main(
///             @builtin(workgroup_id) id: vec3<u32>,
///             @builtin(num_workgroups) workgroups: vec3<u32>,
///             @builtin(local_invocation_index) invocation: u32,
///         ) {
///             let i = (id.x + id.y * workgroups.x) * 256u + invocation;
///             if i < count { x[i] *= 0.5; }
///         }",
///     bindings: &[Access::Write],
///     cpu: Some(|buffers, _| {
///         buffers[0].f32_mut()?.iter_mut().for_each(|x| *x *= 0.5);
///         Ok(())
///     }),
/// };
/// # fn main() -> Result<()> {
/// let device = testing::device();
/// let mut x = device.from_slice(1, 2, &[2.0, 6.0])?;
/// device.run(&HALVE, &[], &mut [&mut x], &2u32.to_le_bytes(), 1)?;
/// assert_eq!(x.to_vec()?, [1.0, 3.0]);
/// # Ok(())
/// # }
/// ```
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
