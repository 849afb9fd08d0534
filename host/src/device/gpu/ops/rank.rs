//! Places among sorted scores, and what follows from them.

use super::{memory, size};
use crate::device::{
    DType, Result, Tensor, Within, check,
    gpu::{Context, Dispatch, panels, segments},
};
use espalier_shaders::{
    at_most as at_most_kernel, kth_in_rows,
    kth_smallest::{self as kth, STATE_WORDS},
    select_whole,
};

/// As [`Device::kth_smallest`](crate::device::Device::kth_smallest).
///
/// # Errors
/// Operands that do not fit, or a failing device; so for every operation here.
pub fn kth_smallest(
    context: &Context,
    scores: &Tensor,
    within: Within,
    k: usize,
    out: &mut Tensor,
) -> Result<()> {
    const NAME: &str = "kth_smallest";
    check::kth_smallest(scores, within, k, out)?;
    if within == Within::Whole {
        return search(context, scores, k, out).map(drop);
    }
    if scores.elements() == 0 {
        return Ok(());
    }
    for segment in segments(scores.rows(), [(panels(NAME, scores)?, 0), (panels(NAME, out)?, 0)]) {
        let [scores_part, out_part] = &segment.parts;
        let params = kth_in_rows::Params {
            rows: size(NAME, segment.rows.len())?,
            cols: size(NAME, scores.cols())?,
            place: size(NAME, k)?,
            scores_row: size(NAME, scores_part.row)?,
            out_row: size(NAME, out_part.row)?,
        };
        context.dispatch(&Dispatch {
            kernel: &kth_in_rows::KERNEL,
            constants: &[],
            bindings: &[scores_part.binding.clone(), out_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// Finds the value at a place of all sorted scores, and returns the state that the search leaves behind.
fn search(context: &Context, scores: &Tensor, place: usize, out: &Tensor) -> Result<Tensor> {
    const NAME: &str = "kth_smallest";
    let state = memory::zeros(context, DType::U32, 1, STATE_WORDS)?;
    let (matrix, words, value) =
        (panels(NAME, scores)?, panels(NAME, &state)?.only(NAME)?, panels(NAME, out)?.only(NAME)?);
    let place = size(NAME, place)?;
    for shift in [24, 16, 8, 0] {
        for panel in 0..matrix.count() {
            let count = matrix.panel_bytes(panel) / size_of::<f32>();
            context.dispatch(&Dispatch {
                kernel: &kth::KERNEL,
                constants: &[("PHASE", 0.0)],
                bindings: &[matrix.binding(panel), words.clone(), value.clone()],
                params: bytemuck::bytes_of(&kth::Params { count: size(NAME, count)?, place, shift }),
                workgroups: count.div_ceil(kth::PER_WORKGROUP) as u64,
            })?;
        }
        context.dispatch(&Dispatch {
            kernel: &kth::KERNEL,
            constants: &[("PHASE", 1.0)],
            bindings: &[matrix.binding(0), words.clone(), value.clone()],
            params: bytemuck::bytes_of(&kth::Params { count: 0, place, shift }),
            workgroups: 1,
        })?;
    }
    Ok(state)
}

/// Sets the bits of the smallest scores of a whole matrix, as many as said and at least one; the operands
/// fit.
pub fn select_smallest(context: &Context, scores: &Tensor, count: usize, mask: &Tensor) -> Result<()> {
    const NAME: &str = "select";
    let greatest = memory::uninitialised(context, DType::F32, 1, 1)?;
    let state = search(context, scores, count - 1, &greatest)?;
    let ties = memory::uninitialised(context, DType::U32, scores.rows(), 1)?;
    let (scores_panels, ties_panels, mask_panels) =
        (panels(NAME, scores)?, panels(NAME, &ties)?, panels(NAME, mask)?);
    let state = panels(NAME, &state)?.only(NAME)?;
    let cols = size(NAME, scores.cols())?;
    for phase in [0, 1, 2] {
        if phase == 1 {
            for panel in 0..ties_panels.count() {
                let rows = size(NAME, ties_panels.panel_rows(panel).len())?;
                let params = select_whole::Params { rows, cols, scores_row: 0, ties_row: 0, mask_row: 0 };
                context.dispatch(&Dispatch {
                    kernel: &select_whole::KERNEL,
                    constants: &[("PHASE", 1.0)],
                    bindings: &[
                        scores_panels.binding(0),
                        state.clone(),
                        ties_panels.binding(panel),
                        mask_panels.binding(0),
                    ],
                    params: bytemuck::bytes_of(&params),
                    workgroups: 1,
                })?;
            }
            continue;
        }
        let operands = [(scores_panels, 0), (ties_panels, 0), (mask_panels, 0)];
        for segment in segments(scores.rows(), operands) {
            let [scores, ties, mask] = &segment.parts;
            let params = select_whole::Params {
                rows: size(NAME, segment.rows.len())?,
                cols,
                scores_row: size(NAME, scores.row)?,
                ties_row: size(NAME, ties.row)?,
                mask_row: size(NAME, mask.row)?,
            };
            context.dispatch(&Dispatch {
                kernel: &select_whole::KERNEL,
                constants: &[("PHASE", f64::from(phase))],
                bindings: &[
                    scores.binding.clone(),
                    state.clone(),
                    ties.binding.clone(),
                    mask.binding.clone(),
                ],
                params: bytemuck::bytes_of(&params),
                workgroups: segment.rows.len() as u64,
            })?;
        }
    }
    Ok(())
}

/// As [`Device::at_most`](crate::device::Device::at_most).
pub fn at_most(context: &Context, scores: &Tensor, thresholds: &Tensor, mask: &mut Tensor) -> Result<()> {
    const NAME: &str = "at_most";
    check::at_most(scores, thresholds, mask)?;
    if scores.elements() == 0 {
        return Ok(());
    }
    let each_row = thresholds.rows() == scores.rows();
    let words = scores.cols().div_ceil(32);
    let (scores_panels, mask_panels, limits) =
        (panels(NAME, scores)?, panels(NAME, mask)?, panels(NAME, thresholds)?);
    // One threshold for all is asked for by every row: its panel then cuts nothing.
    let third = if each_row { limits } else { scores_panels };
    for segment in segments(scores.rows(), [(scores_panels, 0), (mask_panels, 0), (third, 0)]) {
        let [scores_part, mask_part, limit] = &segment.parts;
        let (limit, limit_row) = match each_row {
            true => (limit.binding.clone(), limit.row),
            false => (limits.only(NAME)?, 0),
        };
        let params = at_most_kernel::Params {
            rows: size(NAME, segment.rows.len())?,
            cols: size(NAME, scores.cols())?,
            scores_row: size(NAME, scores_part.row)?,
            thresholds_row: size(NAME, limit_row)?,
            mask_row: size(NAME, mask_part.row)?,
        };
        context.dispatch(&Dispatch {
            kernel: &at_most_kernel::KERNEL,
            constants: &[("EACH_ROW", f64::from(u8::from(each_row)))],
            bindings: &[scores_part.binding.clone(), limit, mask_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: (segment.rows.len() * words).div_ceil(at_most_kernel::WORDS_PER_WORKGROUP) as u64,
        })?;
    }
    Ok(())
}
