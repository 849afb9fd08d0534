//! Element-wise operations.

use crate::{
    Binary, DeviceError, Repeat, Result, Tensor, Unary,
    gpu::{Context, Dispatch, panels, segments, sizes::size},
};
use espalier_shaders::{map as map_kernel, update as update_kernel, zip as zip_kernel};

/// [`Op::Map`](crate::Op::Map).
///
/// # Errors
/// A failing device; likewise for every operation here.
pub fn map(context: &Context, f: Unary, x: &Tensor, scale: f32, shift: f32, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "map";
    // Tensors of one shape and type are cut alike.
    let (x, out) = (panels(x)?, panels(out)?);
    let plain = scale == 1.0 && shift == 0.0;
    for panel in 0..x.count() {
        let count = x.panel_bytes(panel) / size_of::<f32>();
        let params = map_kernel::Params { count: size(NAME, count)?, scale, shift };
        context.dispatch(&Dispatch {
            kernel: &map_kernel::KERNEL,
            constants: &[("F", f64::from(f as u32)), ("PLAIN", f64::from(u8::from(plain)))],
            bindings: &[x.binding(panel), out.binding(panel)],
            params: bytemuck::bytes_of(&params),
            workgroups: count.div_ceil(map_kernel::PER_WORKGROUP) as u64,
        })?;
    }
    Ok(())
}

/// [`Op::Zip`](crate::Op::Zip).
pub fn zip(
    context: &Context,
    f: Unary,
    a: &Tensor,
    op: Binary,
    alpha: f32,
    b: &Tensor,
    out: &mut Tensor,
) -> Result<()> {
    const NAME: &str = "zip";
    let repeat = Repeat::of(b, (a.rows(), a.cols())).map_err(DeviceError::operand(NAME))?;
    if out.elements() == 0 {
        return Ok(());
    }
    let constants =
        [("F", f64::from(f as u32)), ("OP", f64::from(op as u32)), ("REPEAT", f64::from(repeat as u32))];
    let (cols, b) = (a.cols(), panels(b)?);
    for segment in segments(a.rows(), [(panels(a)?, 0), (panels(out)?, 0)]) {
        let [a_part, out_part] = &segment.parts;
        let mut start = 0;
        // Where b has rows of its own, it may be cut elsewhere than a and out.
        while start < segment.rows.len() {
            let (b_binding, b_row, rows) = match repeat {
                Repeat::Row | Repeat::Number => (b.only(NAME)?, 0, segment.rows.len()),
                Repeat::Nowhere | Repeat::Column => {
                    let part = b.part(segment.rows.start + start);
                    (part.binding, part.row, part.rows_left.min(segment.rows.len() - start))
                }
            };
            let params = zip_kernel::Params {
                count: size(NAME, rows * cols)?,
                cols: size(NAME, cols)?,
                a_row: size(NAME, a_part.row + start)?,
                b_row: size(NAME, b_row)?,
                out_row: size(NAME, out_part.row + start)?,
                alpha,
            };
            context.dispatch(&Dispatch {
                kernel: &zip_kernel::KERNEL,
                constants: &constants,
                bindings: &[a_part.binding.clone(), b_binding, out_part.binding.clone()],
                params: bytemuck::bytes_of(&params),
                workgroups: (rows * cols).div_ceil(zip_kernel::PER_WORKGROUP) as u64,
            })?;
            start += rows;
        }
    }
    Ok(())
}

/// [`Op::Update`](crate::Op::Update).
pub fn update(
    context: &Context,
    (f, scale): (Unary, f32),
    op: Binary,
    (alpha, b): (f32, &Tensor),
    x: &mut Tensor,
) -> Result<()> {
    const NAME: &str = "update";
    let (rows, cols) = (x.rows(), x.cols());
    let repeat = Repeat::of(b, (rows, cols)).map_err(DeviceError::operand(NAME))?;
    if x.elements() == 0 {
        return Ok(());
    }
    let constants =
        [("F", f64::from(f as u32)), ("OP", f64::from(op as u32)), ("REPEAT", f64::from(repeat as u32))];
    let (x, b) = (panels(x)?, panels(b)?);
    let has_rows = matches!(repeat, Repeat::Nowhere | Repeat::Column);
    // What is repeated for every row lies in one panel, and cuts nothing.
    for segment in segments(rows, [(x, 0), (if has_rows { b } else { x }, 0)]) {
        let [x_part, b_part] = &segment.parts;
        let (b_binding, b_row) =
            if has_rows { (b_part.binding.clone(), b_part.row) } else { (b.only(NAME)?, 0) };
        let count = segment.rows.len() * cols;
        let params = update_kernel::Params {
            count: size(NAME, count)?,
            cols: size(NAME, cols)?,
            x_row: size(NAME, x_part.row)?,
            b_row: size(NAME, b_row)?,
            scale,
            alpha,
        };
        context.dispatch(&Dispatch {
            kernel: &update_kernel::KERNEL,
            constants: &constants,
            bindings: &[b_binding, x_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: count.div_ceil(update_kernel::PER_WORKGROUP) as u64,
        })?;
    }
    Ok(())
}
