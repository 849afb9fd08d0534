//! A weight with its low-rank part.

use espalier_device::{DType, Device, DeviceError, Op, Tensor};

/// `weight + left · right` in the weight's type; `left` and `right` are f32, `[out_features, rank]` and `[rank, in_features]`.
///
/// # Errors
/// The device failed.
pub fn merged(
    device: &dyn Device,
    weight: &Tensor,
    left: &Tensor,
    right: &Tensor,
) -> Result<Tensor, DeviceError> {
    let mut sum = in_f32(device, weight)?;
    let product = Op::Matmul { a: left.all(), b: right.all(), alpha: 1.0, beta: 1.0, to: (0, 0) };
    device.execute(product, &mut sum)?;
    if weight.dtype() == DType::F32 {
        return Ok(sum);
    }
    let mut merged = device.zeros(weight.dtype(), weight.rows(), weight.cols())?;
    device.execute(Op::Convert { x: &sum }, &mut merged)?;
    Ok(merged)
}

/// A copy of a tensor in f32.
pub(super) fn in_f32(device: &dyn Device, x: &Tensor) -> Result<Tensor, DeviceError> {
    let mut copy = device.zeros(DType::F32, x.rows(), x.cols())?;
    device.execute(Op::Convert { x }, &mut copy)?;
    Ok(copy)
}
