//! Selection and masks.

use crate::device::{DeviceError, Result, Selection, Tensor, gpu::Context};

pub fn select(_: &Context, _: &Tensor, _: Selection, _: &mut Tensor) -> Result<()> {
    Err(DeviceError::Invalid { operation: "select", message: "not there yet".to_owned() })
}

pub fn zero_where(_: &Context, _: &Tensor, _: &mut Tensor) -> Result<()> {
    Err(DeviceError::Invalid { operation: "zero_where", message: "not there yet".to_owned() })
}
