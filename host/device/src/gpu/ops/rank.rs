//! Places among sorted scores, and what follows from them.

use super::scores::Ranked;
use crate::{
    DType, Result, Scores, Tensor, Within,
    gpu::{Context, Dispatch, memory, panels, segments, sizes::size},
};
use espalier_shaders::{
    at_most as at_most_kernel, kth_in_rows,
    kth_smallest::{self as kth, STATE_WORDS},
    select_whole,
};

/// [`Op::KthSmallest`](crate::Op::KthSmallest).
///
/// # Errors
/// A failing device; likewise for every operation here.
pub fn kth_smallest(
    context: &Context,
    scores: Scores,
    within: Within,
    k: usize,
    out: &mut Tensor,
) -> Result<()> {
    const NAME: &str = "kth_smallest";
    let (rows, cols) = (scores.a.rows(), scores.a.cols());
    if rows * cols == 0 {
        return Ok(());
    }
    let ranked = Ranked::new(NAME, &scores)?;
    if within == Within::Whole {
        return search(context, &ranked, cols, k, out).map(drop);
    }
    for segment in segments(rows, [(ranked.a, 0), (panels(out)?, 0)]) {
        let [scores_part, out_part] = &segment.parts;
        let params = kth_in_rows::Params {
            rows: size(NAME, segment.rows.len())?,
            cols: size(NAME, cols)?,
            place: size(NAME, k)?,
            scores_row: size(NAME, scores_part.row)?,
            out_row: size(NAME, out_part.row)?,
        };
        context.dispatch(&Dispatch {
            kernel: &kth_in_rows::KERNEL,
            constants: &ranked.constants,
            bindings: &[scores_part.binding.clone(), ranked.by.clone(), out_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// Finds the value at a place of all sorted scores, and returns the state that the search leaves behind.
fn search(context: &Context, ranked: &Ranked, cols: usize, place: usize, out: &Tensor) -> Result<Tensor> {
    const NAME: &str = "kth_smallest";
    let state = memory::zeros(context, DType::U32, 1, STATE_WORDS)?;
    let (words, value) = (panels(&state)?.only(NAME)?, panels(out)?.only(NAME)?);
    let (matrix, cols, place) = (ranked.a, size(NAME, cols)?, size(NAME, place)?);
    for shift in [24, 16, 8, 0] {
        for panel in 0..matrix.count() {
            let count = matrix.panel_bytes(panel) / size_of::<f32>();
            context.dispatch(&Dispatch {
                kernel: &kth::KERNEL,
                constants: &ranked.constants_and("PHASE", 0.0),
                bindings: &[matrix.binding(panel), ranked.by.clone(), words.clone(), value.clone()],
                params: bytemuck::bytes_of(&kth::Params { count: size(NAME, count)?, cols, place, shift }),
                workgroups: count.div_ceil(kth::PER_WORKGROUP) as u64,
            })?;
        }
        context.dispatch(&Dispatch {
            kernel: &kth::KERNEL,
            // It reads no scores: one pipeline for all of them.
            constants: &[("PHASE", 1.0)],
            bindings: &[matrix.binding(0), ranked.by.clone(), words.clone(), value.clone()],
            params: bytemuck::bytes_of(&kth::Params { count: 0, cols, place, shift }),
            workgroups: 1,
        })?;
    }
    Ok(state)
}

/// Sets the bits of the smallest scores of a whole matrix, as many as said and at least one; the operands
/// fit.
pub(super) fn select_smallest(
    context: &Context,
    ranked: &Ranked,
    (all_rows, cols): (usize, usize),
    count: usize,
    mask: &Tensor,
) -> Result<()> {
    const NAME: &str = "select";
    let greatest = memory::uninitialised(context, DType::F32, 1, 1)?;
    let state = search(context, ranked, cols, count - 1, &greatest)?;
    let ties = memory::uninitialised(context, DType::U32, all_rows, 1)?;
    let (ties_panels, mask_panels) = (panels(&ties)?, panels(mask)?);
    let state = panels(&state)?.only(NAME)?;
    let cols = size(NAME, cols)?;
    for phase in [0, 1, 2] {
        if phase == 1 {
            for panel in 0..ties_panels.count() {
                let rows = size(NAME, ties_panels.panel_rows(panel).len())?;
                let params = select_whole::Params { rows, cols, scores_row: 0, ties_row: 0, mask_row: 0 };
                context.dispatch(&Dispatch {
                    kernel: &select_whole::KERNEL,
                    // It reads no scores: one pipeline for all of them.
                    constants: &[("PHASE", 1.0)],
                    bindings: &[
                        ranked.a.binding(0),
                        ranked.by.clone(),
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
        let operands = [(ranked.a, 0), (ties_panels, 0), (mask_panels, 0)];
        for segment in segments(all_rows, operands) {
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
                constants: &ranked.constants_and("PHASE", f64::from(phase)),
                bindings: &[
                    scores.binding.clone(),
                    ranked.by.clone(),
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

/// [`Op::AtMost`](crate::Op::AtMost).
pub fn at_most(context: &Context, scores: Scores, thresholds: &Tensor, mask: &mut Tensor) -> Result<()> {
    const NAME: &str = "at_most";
    let (rows, cols) = (scores.a.rows(), scores.a.cols());
    if rows * cols == 0 {
        return Ok(());
    }
    let ranked = Ranked::new(NAME, &scores)?;
    let each_row = thresholds.rows() == rows;
    let words = cols.div_ceil(32);
    let (mask_panels, limits) = (panels(mask)?, panels(thresholds)?);
    // One threshold for all is asked for by every row: its panel then cuts nothing.
    let third = if each_row { limits } else { ranked.a };
    for segment in segments(rows, [(ranked.a, 0), (mask_panels, 0), (third, 0)]) {
        let [scores_part, mask_part, limit] = &segment.parts;
        let (limit, limit_row) = match each_row {
            true => (limit.binding.clone(), limit.row),
            false => (limits.only(NAME)?, 0),
        };
        let params = at_most_kernel::Params {
            rows: size(NAME, segment.rows.len())?,
            cols: size(NAME, cols)?,
            scores_row: size(NAME, scores_part.row)?,
            thresholds_row: size(NAME, limit_row)?,
            mask_row: size(NAME, mask_part.row)?,
        };
        context.dispatch(&Dispatch {
            kernel: &at_most_kernel::KERNEL,
            constants: &ranked.constants_and("EACH_ROW", f64::from(u8::from(each_row))),
            bindings: &[scores_part.binding.clone(), ranked.by.clone(), limit, mask_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: (segment.rows.len() * words).div_ceil(at_most_kernel::WORDS_PER_WORKGROUP) as u64,
        })?;
    }
    Ok(())
}
