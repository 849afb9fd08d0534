//! Reductions.

use crate::{
    Axis, DType, Reduction, Result, Tensor,
    gpu::{Context, Dispatch, Panels, memory, panels, segments, sizes::size},
};
use espalier_shaders::{
    reduce_columns::{self, BLOCK_ROWS, COLUMNS},
    reduce_rows,
};

const NAME: &str = "reduce";

/// [`Op::Reduce`](crate::Op::Reduce).
///
/// # Errors
/// A failing device.
pub fn reduce(
    context: &Context,
    f: Reduction,
    axis: Axis,
    x: &Tensor,
    accumulate: bool,
    out: &mut Tensor,
) -> Result<()> {
    if out.elements() == 0 || (x.elements() == 0 && accumulate) {
        return Ok(());
    }
    if x.elements() == 0 {
        return memory::clear(context, out);
    }
    match axis {
        Axis::EachRow => rows(context, f, x, accumulate, out),
        Axis::EachColumn => columns(context, f, x, accumulate, out),
    }
}

fn constants(f: Reduction, accumulate: bool) -> [(&'static str, f64); 2] {
    [("F", f64::from(f as u32)), ("ACCUMULATE", f64::from(u8::from(accumulate)))]
}

fn rows(context: &Context, f: Reduction, x: &Tensor, accumulate: bool, out: &Tensor) -> Result<()> {
    for segment in segments(x.rows(), [(panels(x)?, 0), (panels(out)?, 0)]) {
        let [x_part, out_part] = &segment.parts;
        let params = reduce_rows::Params {
            rows: size(NAME, segment.rows.len())?,
            cols: size(NAME, x.cols())?,
            x_row: size(NAME, x_part.row)?,
            out_row: size(NAME, out_part.row)?,
        };
        context.dispatch(&Dispatch {
            kernel: &reduce_rows::KERNEL,
            constants: &constants(f, accumulate),
            bindings: &[x_part.binding.clone(), out_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

fn columns(context: &Context, f: Reduction, x: &Tensor, accumulate: bool, out: &Tensor) -> Result<()> {
    let cols = x.cols();
    let source = panels(x)?;
    let panel_blocks = |panel| source.panel_rows(panel).len().div_ceil(BLOCK_ROWS);
    if (0..source.count()).all(|panel| panel_blocks(panel) == 1) {
        // Few rows in every panel: one panel after the other adds to the result.
        for panel in 0..source.count() {
            let rows = source.panel_rows(panel).len();
            blocks(context, f, cols, source, panel, 0..rows, accumulate || panel > 0, panels(out)?, 0)?;
        }
        return Ok(());
    }
    // A row of results for every block, which are reduced in their turn.
    let results = memory::zeros(context, DType::F32, (0..source.count()).map(panel_blocks).sum(), cols)?;
    let targets = panels(&results)?;
    let mut done = 0;
    for panel in 0..source.count() {
        let rows = source.panel_rows(panel).len();
        for segment in segments(panel_blocks(panel), [(targets, done)]) {
            let first = segment.rows.start * BLOCK_ROWS;
            let last = (segment.rows.end * BLOCK_ROWS).min(rows);
            blocks(context, f, cols, source, panel, first..last, false, targets, done + segment.rows.start)?;
        }
        done += panel_blocks(panel);
    }
    let f = if f == Reduction::MaxAbs { f } else { Reduction::Sum };
    columns(context, f, &results, accumulate, out)
}

/// Reduces blocks of some rows of a panel into rows of one panel of the target.
fn blocks(
    context: &Context,
    f: Reduction,
    cols: usize,
    source: &Panels,
    panel: usize,
    rows: std::ops::Range<usize>,
    accumulate: bool,
    target: &Panels,
    target_row: usize,
) -> Result<()> {
    let target = target.part(target_row);
    let params = reduce_columns::Params {
        rows: size(NAME, rows.len())?,
        cols: size(NAME, cols)?,
        x_row: size(NAME, rows.start)?,
        out_row: size(NAME, target.row)?,
    };
    context.dispatch(&Dispatch {
        kernel: &reduce_columns::KERNEL,
        constants: &constants(f, accumulate),
        bindings: &[source.binding(panel), target.binding],
        params: bytemuck::bytes_of(&params),
        workgroups: (rows.len().div_ceil(BLOCK_ROWS) * cols.div_ceil(COLUMNS)) as u64,
    })
}
