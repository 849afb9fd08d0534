//! Attention.

use crate::device::{AttentionShape, DeviceError, Result, Span, Tensor, gpu::Context};

/// The tiles of the last batch, which every layer of a model has in common.
#[derive(Debug, Default)]
pub struct TileCache;

/// As [`Device::attention`](crate::device::Device::attention).
pub fn attention(
    _: &Context,
    _: &TileCache,
    _: &Tensor,
    _: &Tensor,
    _: &Tensor,
    _: &AttentionShape,
    _: &[Span],
    _: &mut Tensor,
) -> Result<()> {
    Err(DeviceError::Invalid { operation: "attention", message: "not there yet".to_owned() })
}
