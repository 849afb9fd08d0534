//! Products with weights, by a given variant.

use super::Variant;
use crate::{
    Compute, Result, Tensor,
    gpu::{
        Context, Dispatch, PackedPanels, Segment, panels, segments,
        sizes::{compute_constant, dtype_constant, size},
    },
};
use espalier_shaders::linear::{ADD_BIAS, BIAS_DTYPE_SHIFT, Mode, Params};
use std::ops::Range;

const NAME: &str = "linear";

/// Some rows of w: which, where the first of them is in what is bound, and what is bound.
struct WeightPart<'a> {
    rows: Range<usize>,
    first: usize,
    elements: wgpu::BufferBinding<'a>,
    /// Where zeros are left out, the mask and where rows begin.
    places: Vec<wgpu::BufferBinding<'a>>,
}

fn weight_parts(w: &Tensor) -> Result<Vec<WeightPart<'_>>> {
    let mut parts = Vec::new();
    if let Ok(packed) = w.storage::<PackedPanels>() {
        for panel in packed.bindings(NAME) {
            let (rows, [elements, mask, offsets]) = panel?;
            parts.push(WeightPart { rows, first: 0, elements, places: vec![mask, offsets] });
        }
        return Ok(parts);
    }
    for Segment { rows, parts: [part] } in segments(w.rows(), [(panels(w)?, 0)]) {
        parts.push(WeightPart { rows, first: part.row, elements: part.binding, places: Vec::new() });
    }
    Ok(parts)
}

/// A product of operands that fit, by this variant: one that reads weights without their zeros where w is such a matrix.
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
    let mut bias_binding = None;
    if let Some(bias) = bias {
        flags |= ADD_BIAS | (dtype_constant(bias.dtype()) as u32) << BIAS_DTYPE_SHIFT;
        bias_binding = Some(panels(bias)?.only(NAME)?);
    }
    let weights = weight_parts(w)?;
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
        for part in &weights {
            let params = Params {
                tokens: size(NAME, rows.rows.len())?,
                outs: size(NAME, part.rows.len())?,
                ins: size(NAME, ins)?,
                x_row: size(NAME, x_part.row)?,
                w_row: size(NAME, part.first)?,
                y_row: size(NAME, y_part.row)?,
                y_col: size(NAME, part.rows.start)?,
                y_cols: size(NAME, outs)?,
                flags,
            };
            let tiles = part.rows.len().div_ceil(tile_outs) * rows.rows.len().div_ceil(tile_tokens);
            // Without a bias its binding takes w, which is not read there.
            let bias = bias_binding.as_ref().unwrap_or(&part.elements);
            let operands = [&x_part.binding, &part.elements, bias, &y_part.binding];
            let bindings: Vec<_> = operands.into_iter().chain(&part.places).cloned().collect();
            context.dispatch(&Dispatch {
                kernel: variant.kernel,
                constants: &constants,
                bindings: &bindings,
                params: bytemuck::bytes_of(&params),
                workgroups: tiles as u64,
            })?;
        }
    }
    Ok(())
}
