//! The description of a kernel for devices.

use crate::Access;

/// A WGSL kernel. Its bindings are storage buffers of group 0, numbered from 0; its parameters are a
/// `var<immediate>` block of at most 128 bytes; its entry point is `main`. Of our own, all is taken from the source.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// The name of its file.
    pub name: &'static str,
    /// Its source.
    pub wgsl: &'static str,
    /// How it uses its bindings, in order.
    pub bindings: &'static [Access],
    /// The size of its parameters in bytes.
    pub params: u32,
}

impl Kernel {
    /// The kernel, whose parameters the host writes as `P`: for constants, so that another size does not compile.
    pub(crate) const fn with<P>(self) -> Self {
        assert!(size_of::<P>() == self.params as usize, "the parameters are as large as in the source");
        self
    }
}
