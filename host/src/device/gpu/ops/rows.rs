//! Operations on whole rows of activations.

use super::{FLOATS, dtype_constant, size};
use crate::device::{
    DType, DeviceError, Result, Tensor,
    gpu::{Context, Dispatch, panels, segments},
};
use espalier_shaders::rms_norm;

/// As [`Device::rms_norm`](crate::device::Device::rms_norm).
pub fn rms_norm(context: &Context, x: &Tensor, weight: &Tensor, eps: f32, y: &mut Tensor) -> Result<()> {
    const NAME: &str = "rms_norm";
    x.expect_dtype(NAME, &[DType::F32])?;
    weight.expect_dtype(NAME, &FLOATS)?;
    weight.expect_shape(NAME, 1, x.cols())?;
    y.expect_dtype(NAME, &[DType::F32])?;
    y.expect_shape(NAME, x.rows(), x.cols())?;
    if x.elements() == 0 {
        return Ok(());
    }
    let weight_binding = panels(NAME, weight)?.only(NAME)?;
    for segment in segments(x.rows(), [(panels(NAME, x)?, 0), (panels(NAME, y)?, 0)]) {
        let [x_part, y_part] = &segment.parts;
        let params = rms_norm::Params {
            rows: size(NAME, segment.rows.len())?,
            cols: size(NAME, x.cols())?,
            x_row: size(NAME, x_part.row)?,
            y_row: size(NAME, y_part.row)?,
            eps,
        };
        context.dispatch(&Dispatch {
            kernel: &rms_norm::KERNEL,
            constants: &[("WEIGHT_DTYPE", dtype_constant(weight.dtype()))],
            bindings: &[x_part.binding.clone(), weight_binding.clone(), y_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// As [`Device::silu_mul`](crate::device::Device::silu_mul).
pub fn silu_mul(_: &Context, _: &mut Tensor, _: &Tensor) -> Result<()> {
    Err(DeviceError::Invalid { operation: "silu_mul", message: "not there yet".to_owned() })
}

/// As [`Device::cross_entropy`](crate::device::Device::cross_entropy).
pub fn cross_entropy(_: &Context, _: &Tensor, _: &Tensor, _: &mut Tensor) -> Result<()> {
    Err(DeviceError::Invalid { operation: "cross_entropy", message: "not there yet".to_owned() })
}
