//! Products with weights.

use super::{compute_constant, dtype_constant, size};
use crate::device::{
    Compute, Result, Tensor, check,
    gpu::{Context, Dispatch, panels, segments},
};
use espalier_shaders::linear::{ACCUMULATE, ADD_BIAS, BIAS_DTYPE_SHIFT, KERNEL, Params};

const NAME: &str = "linear";

/// As [`Device::linear`](crate::device::Device::linear).
pub fn linear(
    context: &Context,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    accumulate: bool,
    compute: Compute,
    y: &mut Tensor,
) -> Result<()> {
    let (tokens, ins, outs) = (x.rows(), x.cols(), w.rows());
    check::linear(x, w, bias, y)?;
    if y.elements() == 0 {
        return Ok(());
    }
    let mut flags = if accumulate { ACCUMULATE } else { 0 };
    // Without a bias its binding takes w, which is not read there.
    let mut bias_binding = panels(NAME, w)?.binding(0);
    if let Some(bias) = bias {
        flags |= ADD_BIAS | (dtype_constant(bias.dtype()) as u32) << BIAS_DTYPE_SHIFT;
        bias_binding = panels(NAME, bias)?.only(NAME)?;
    }
    let [gx, gy] = workgroup(tokens);
    let constants = [
        ("W_DTYPE", dtype_constant(w.dtype())),
        ("COMPUTE", compute_constant(compute)),
        ("ALIGNED", f64::from(u8::from(ins.is_multiple_of(4)))),
        ("GX", gx as f64),
        ("GY", gy as f64),
    ];
    for rows in segments(tokens, [(panels(NAME, x)?, 0), (panels(NAME, y)?, 0)]) {
        let [x_part, y_part] = &rows.parts;
        for columns in segments(outs, [(panels(NAME, w)?, 0)]) {
            let [w_part] = &columns.parts;
            let params = Params {
                tokens: size(NAME, rows.rows.len())?,
                outs: size(NAME, columns.rows.len())?,
                ins: size(NAME, ins)?,
                x_row: size(NAME, x_part.row)?,
                w_row: size(NAME, w_part.row)?,
                y_row: size(NAME, y_part.row)?,
                y_col: size(NAME, columns.rows.start)?,
                y_cols: size(NAME, outs)?,
                flags,
            };
            let tiles = columns.rows.len().div_ceil(8 * gx) * rows.rows.len().div_ceil(8 * gy);
            context.dispatch(&Dispatch {
                kernel: &KERNEL,
                constants: &constants,
                bindings: &[
                    x_part.binding.clone(),
                    w_part.binding.clone(),
                    bias_binding.clone(),
                    y_part.binding.clone(),
                ],
                params: bytemuck::bytes_of(&params),
                workgroups: tiles as u64,
            })?;
        }
    }
    Ok(())
}

/// The workgroup's width and height: large tiles reuse more of what they load, and few tokens would leave
/// most of a large tile empty.
fn workgroup(tokens: usize) -> [usize; 2] {
    match tokens {
        0..=16 => [16, 2],
        17..=64 => [8, 8],
        _ => [16, 16],
    }
}
