//! Tensors made, filled, copied and converted.

use crate::device::{
    DType, DeviceError, Result, Storage, Tensor,
    gpu::{Context, Panels, panels},
};

/// As [`Device::zeros`](crate::device::Device::zeros).
pub fn zeros(context: &Context, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
    let panels = Panels::allocate(context, dtype, rows, cols)?;
    let recycled: Vec<_> = (0..panels.count()).filter(|&panel| panels.pooled(panel).recycled()).collect();
    if !recycled.is_empty() {
        context.encode("zeros", |encoder| {
            for &panel in &recycled {
                let words = panels.panel_bytes(panel).next_multiple_of(4) as u64;
                encoder.clear_buffer(panels.pooled(panel).buffer(), 0, Some(words));
            }
        })?;
    }
    Ok(Tensor::new(dtype, rows, cols, Storage::Gpu(panels)))
}

/// Fills a tensor with zeros.
///
/// # Errors
/// The device failed.
pub fn clear(context: &Context, x: &mut Tensor) -> Result<()> {
    let panels = panels("clear", x)?;
    context.encode("clear", |encoder| {
        for panel in 0..panels.count() {
            let words = panels.panel_bytes(panel).next_multiple_of(4) as u64;
            encoder.clear_buffer(panels.pooled(panel).buffer(), 0, Some(words));
        }
    })
}

/// As [`Device::upload`](crate::device::Device::upload).
pub fn upload(context: &Context, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<Tensor> {
    let expected = rows * cols * dtype.size();
    if bytes.len() != expected {
        return Err(DeviceError::Invalid {
            operation: "upload",
            message: format!(
                "a tensor [{rows}, {cols}] of {dtype} takes {expected} bytes, but {} were given",
                bytes.len()
            ),
        });
    }
    let panels = Panels::allocate(context, dtype, rows, cols)?;
    context.write(&panels, bytes)?;
    Ok(Tensor::new(dtype, rows, cols, Storage::Gpu(panels)))
}

/// As [`Device::convert`](crate::device::Device::convert).
pub fn convert(_: &Context, _: &Tensor, _: &mut Tensor) -> Result<()> {
    Err(DeviceError::Invalid { operation: "convert", message: "not there yet".to_owned() })
}

/// As [`Device::copy_rows`](crate::device::Device::copy_rows).
pub fn copy_rows(_: &Context, _: &Tensor, _: usize, _: &mut Tensor) -> Result<()> {
    Err(DeviceError::Invalid { operation: "copy_rows", message: "not there yet".to_owned() })
}
