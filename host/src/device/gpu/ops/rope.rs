//! Rotary embedding.

use crate::device::{DeviceError, Result, Tensor, gpu::Context};

/// As [`Device::rope`](crate::device::Device::rope).
pub fn rope(_: &Context, _: &mut Tensor, _: usize, _: &Tensor, _: &Tensor) -> Result<()> {
    Err(DeviceError::Invalid { operation: "rope", message: "not there yet".to_owned() })
}
