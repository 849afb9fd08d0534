//! Products with weights, by a given variant.

use super::Variant;
use crate::{
    Compute, Result, Tensor,
    gpu::{
        Context, Dispatch, panels, segments,
        sizes::{compute_constant, dtype_constant, size},
    },
};
use espalier_shaders::linear::{ADD_BIAS, BIAS_DTYPE_SHIFT, Mode, Params};

const NAME: &str = "linear";

/// A product of operands that fit, by this variant.
///
/// # Errors
/// The kernel does not compile, or the device failed.
pub fn run(
    context: &Context,
    variant: &Variant,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    mode: Mode,
    compute: Compute,
    y: &mut Tensor,
) -> Result<()> {
    let (tokens, ins, outs) = (x.rows(), x.cols(), w.rows());
    let mut flags = mode.flag();
    // Without a bias its binding takes w, which is not read there.
    let mut bias_binding = panels(w)?.binding(0);
    if let Some(bias) = bias {
        flags |= ADD_BIAS | (dtype_constant(bias.dtype()) as u32) << BIAS_DTYPE_SHIFT;
        bias_binding = panels(bias)?.only(NAME)?;
    }
    let [tile_tokens, tile_outs] = variant.tile.map(|size| size as usize);
    let [first, second, third] = variant.constants.map(|(name, value)| (name, f64::from(value)));
    let constants = [
        ("W_DTYPE", dtype_constant(w.dtype())),
        ("COMPUTE", compute_constant(compute)),
        ("ALIGNED", f64::from(u8::from(ins.is_multiple_of(4)))),
        first,
        second,
        third,
    ];
    for rows in segments(tokens, [(panels(x)?, 0), (panels(y)?, 0)]) {
        let [x_part, y_part] = &rows.parts;
        for columns in segments(outs, [(panels(w)?, 0)]) {
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
            let tiles = columns.rows.len().div_ceil(tile_outs) * rows.rows.len().div_ceil(tile_tokens);
            context.dispatch(&Dispatch {
                kernel: variant.kernel,
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
