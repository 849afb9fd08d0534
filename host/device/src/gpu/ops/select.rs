//! Selection and masks.

use super::{rank, scores::Ranked};
use crate::{
    Result, Scores, Selection, Tensor,
    gpu::{Context, Dispatch, Segment, memory, panels, segments, sizes::size},
};
use espalier_shaders::{
    select_counts as counts_kernel, select_groups, select_mass, select_rows, zero_where as zero_where_kernel,
};

/// [`Op::Select`](crate::Op::Select).
///
/// # Errors
/// A failing device; likewise for every operation here.
pub fn select(context: &Context, scores: Scores, selection: Selection, mask: &mut Tensor) -> Result<()> {
    const NAME: &str = "select";
    let (rows, cols) = (scores.a.rows(), scores.a.cols());
    if rows * cols == 0 {
        return Ok(());
    }
    let ranked = Ranked::new(NAME, &scores)?;
    if let Selection::Whole { count } = selection {
        return match count {
            0 => memory::clear(context, mask),
            _ => rank::select_smallest(context, &ranked, (rows, cols), count, mask),
        };
    }
    for segment in segments(rows, [(ranked.a, 0), (panels(mask)?, 0)]) {
        select_segment(context, &ranked, cols, selection, &segment)?;
    }
    Ok(())
}

fn select_segment(
    context: &Context,
    ranked: &Ranked,
    cols: usize,
    selection: Selection,
    segment: &Segment<'_, 2>,
) -> Result<()> {
    const NAME: &str = "select";
    let [scores, mask] = &segment.parts;
    let (rows, columns) = (size(NAME, segment.rows.len())?, size(NAME, cols)?);
    let (scores_row, mask_row) = (size(NAME, scores.row)?, size(NAME, mask.row)?);
    let run = |kernel, params: &[u8], workgroups: usize| {
        context.dispatch(&Dispatch {
            kernel,
            constants: &ranked.constants,
            bindings: &[scores.binding.clone(), ranked.by.clone(), mask.binding.clone()],
            params,
            workgroups: workgroups as u64,
        })
    };
    match selection {
        Selection::EachRow { count } => {
            let count = size(NAME, count)?;
            let params = select_rows::Params { rows, cols: columns, count, scores_row, mask_row };
            run(&select_rows::KERNEL, bytemuck::bytes_of(&params), segment.rows.len())
        }
        Selection::Groups { n, m } => {
            let tile = select_groups::tile_columns(m);
            let params = select_groups::Params {
                rows,
                cols: columns,
                n: size(NAME, n)?,
                m: size(NAME, m)?,
                tile: size(NAME, tile)?,
                scores_row,
                mask_row,
            };
            let workgroups = segment.rows.len() * cols.div_ceil(tile);
            run(&select_groups::KERNEL, bytemuck::bytes_of(&params), workgroups)
        }
        Selection::Whole { .. } => unreachable!("no selection within rows"),
        Selection::RowMass { share } => {
            let params = select_mass::Params { rows, cols: columns, share, scores_row, mask_row };
            run(&select_mass::KERNEL, bytemuck::bytes_of(&params), segment.rows.len())
        }
    }
}

/// [`Op::SelectCounts`](crate::Op::SelectCounts).
pub fn select_counts(context: &Context, scores: Scores, counts: &Tensor, mask: &mut Tensor) -> Result<()> {
    const NAME: &str = "select_counts";
    let (rows, cols) = (scores.a.rows(), scores.a.cols());
    if rows * cols == 0 {
        return Ok(());
    }
    let ranked = Ranked::new(NAME, &scores)?;
    for segment in segments(rows, [(ranked.a, 0), (panels(counts)?, 0), (panels(mask)?, 0)]) {
        let [scores_part, counts_part, mask_part] = &segment.parts;
        let params = counts_kernel::Params {
            rows: size(NAME, segment.rows.len())?,
            cols: size(NAME, cols)?,
            scores_row: size(NAME, scores_part.row)?,
            counts_row: size(NAME, counts_part.row)?,
            mask_row: size(NAME, mask_part.row)?,
        };
        let bindings = [&scores_part.binding, &ranked.by, &counts_part.binding, &mask_part.binding];
        context.dispatch(&Dispatch {
            kernel: &counts_kernel::KERNEL,
            constants: &ranked.constants,
            bindings: &bindings.map(Clone::clone),
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// [`Op::ZeroWhere`](crate::Op::ZeroWhere).
pub fn zero_where(context: &Context, mask: &Tensor, x: &mut Tensor) -> Result<()> {
    const NAME: &str = "zero_where";
    if x.elements() == 0 {
        return Ok(());
    }
    let cols = x.cols();
    for segment in segments(x.rows(), [(panels(mask)?, 0), (panels(x)?, 0)]) {
        let [mask_part, x_part] = &segment.parts;
        let count = segment.rows.len() * cols;
        let params = zero_where_kernel::Params {
            count: size(NAME, count)?,
            cols: size(NAME, cols)?,
            mask_row: size(NAME, mask_part.row)?,
            x_row: size(NAME, x_part.row)?,
        };
        context.dispatch(&Dispatch {
            kernel: &zero_where_kernel::KERNEL,
            constants: &[],
            bindings: &[mask_part.binding.clone(), x_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: count.div_ceil(zero_where_kernel::PER_WORKGROUP) as u64,
        })?;
    }
    Ok(())
}
