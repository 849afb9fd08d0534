//! Tensors made, filled, copied and converted.

use crate::{
    DType, Result, Tensor, check,
    gpu::{
        Context, Dispatch, Panels, Segment, panels, segments,
        sizes::{dtype_constant, size},
    },
};
use espalier_shaders::convert::{KERNEL, Params, WORDS_PER_WORKGROUP};

/// As [`Device::zeros`](crate::Device::zeros).
pub(super) fn zeros(context: &Context, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
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
    Ok(Tensor::new(dtype, rows, cols, panels))
}

/// A tensor whose content is undefined, for an operation that writes before it reads.
pub(super) fn uninitialised(context: &Context, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
    let panels = Panels::allocate(context, dtype, rows, cols)?;
    Ok(Tensor::new(dtype, rows, cols, panels))
}

/// Fills a tensor with zeros.
///
/// # Errors
/// The device failed.
pub(super) fn clear(context: &Context, x: &mut Tensor) -> Result<()> {
    let panels = panels(x)?;
    context.encode("clear", |encoder| {
        for panel in 0..panels.count() {
            let words = panels.panel_bytes(panel).next_multiple_of(4) as u64;
            encoder.clear_buffer(panels.pooled(panel).buffer(), 0, Some(words));
        }
    })
}

/// As [`Device::upload`](crate::Device::upload).
pub(super) fn upload(
    context: &Context,
    dtype: DType,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<Tensor> {
    check::tensor_bytes("upload", dtype, rows, cols, Some(bytes.len()))?;
    let panels = Panels::allocate(context, dtype, rows, cols)?;
    context.write(&panels, bytes)?;
    Ok(Tensor::new(dtype, rows, cols, panels))
}

/// [`Op::Convert`](crate::Op::Convert).
pub(super) fn convert(context: &Context, x: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "convert";
    if x.elements() == 0 {
        return Ok(());
    }
    for segment in segments(x.rows(), [(panels(x)?, 0), (panels(out)?, 0)]) {
        convert_segment(context, NAME, x, &segment, out)?;
    }
    Ok(())
}

/// [`Op::CopyRows`](crate::Op::CopyRows).
pub(super) fn copy_rows(context: &Context, x: &Tensor, start: usize, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "copy_rows";
    if out.elements() == 0 {
        return Ok(());
    }
    let row_bytes = x.cols() * x.dtype().size();
    for segment in segments(out.rows(), [(panels(x)?, start), (panels(out)?, 0)]) {
        let [from, to] = &segment.parts;
        let bytes = segment.rows.len() * row_bytes;
        let (source, target) = (from.row * row_bytes, to.row * row_bytes);
        if [bytes, source, target].iter().all(|bytes| bytes.is_multiple_of(4)) {
            context.encode(NAME, |encoder| {
                let (from, to) = (from.binding.buffer, to.binding.buffer);
                encoder.copy_buffer_to_buffer(from, source as u64, to, target as u64, bytes as u64);
            })?;
        } else {
            // Copies are of whole words.
            convert_segment(context, NAME, x, &segment, out)?;
        }
    }
    Ok(())
}

fn convert_segment(
    context: &Context,
    operation: &'static str,
    x: &Tensor,
    segment: &Segment<2>,
    out: &Tensor,
) -> Result<()> {
    let [x_part, out_part] = &segment.parts;
    let cols = x.cols();
    let (count, out_start) = (segment.rows.len() * cols, out_part.row * cols);
    let params = Params {
        count: size(operation, count)?,
        x_start: size(operation, x_part.row * cols)?,
        out_start: size(operation, out_start)?,
    };
    let per_word = 4 / out.dtype().size();
    // From the word that holds the first element to the one that holds the last.
    let words = (out_start + count).div_ceil(per_word) - out_start / per_word;
    context.dispatch(&Dispatch {
        kernel: &KERNEL,
        constants: &[("FROM", dtype_constant(x.dtype())), ("TO", dtype_constant(out.dtype()))],
        bindings: &[x_part.binding.clone(), out_part.binding.clone()],
        params: bytemuck::bytes_of(&params),
        workgroups: words.div_ceil(WORDS_PER_WORKGROUP) as u64,
    })
}
