//! Elements carried from place to place.

use crate::{
    DType, DeviceError, Operand, Result, Tensor,
    gpu::{Context, Dispatch, memory, panels, segments, sizes::size},
};
use espalier_shaders::{
    copy_block, diagonal as diagonal_kernel, reverse as reverse_kernel,
    transpose::{self as transpose_kernel, SIDE_OF_TILE},
};

/// Copies a square matrix with zeros for what is above its diagonal.
pub fn copy_lower(context: &Context, x: &Tensor, out: &Tensor) -> Result<()> {
    carry(context, x.all(), out, (0, 0), true)
}

/// Copies a rectangle. With `lower`, what is right of the rectangle's diagonal becomes 0.
pub fn carry(context: &Context, from: Operand, out: &Tensor, to: (usize, usize), lower: bool) -> Result<()> {
    const NAME: &str = "copy";
    let (x, per_word) = (from.tensor, 4 / out.dtype().size());
    if from.rows == 0 || from.cols == 0 {
        return Ok(());
    }
    let words = |count: usize| match count.is_multiple_of(per_word) {
        true => size(NAME, count / per_word),
        false => Err(DeviceError::Unsupported(format!(
            "a GPU copies rectangles of {} at even columns and of even widths only",
            x.dtype()
        ))),
    };
    let (width, x_stride, out_stride) = (words(from.cols)?, words(x.cols())?, words(out.cols())?);
    let (x_col, out_col) = (words(from.col)?, words(to.1)?);
    let operands = [(panels(x)?, from.row), (panels(out)?, to.0)];
    for segment in segments(from.rows, operands) {
        let [x_part, out_part] = &segment.parts;
        let (rows, cols) = (segment.rows.len(), width as usize);
        let params = copy_block::Params {
            rows: size(NAME, rows)?,
            cols: width,
            x_start: size(NAME, x_part.row * x_stride as usize)? + x_col,
            x_stride,
            out_start: size(NAME, out_part.row * out_stride as usize)? + out_col,
            out_stride,
            diagonal: size(NAME, segment.rows.start)?,
        };
        context.dispatch(&Dispatch {
            kernel: &copy_block::KERNEL,
            constants: &[("LOWER", f64::from(u8::from(lower)))],
            bindings: &[x_part.binding.clone(), out_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: (rows * cols).div_ceil(copy_block::PER_WORKGROUP) as u64,
        })?;
    }
    Ok(())
}

/// [`Op::Transpose`](crate::Op::Transpose)
pub fn transpose(context: &Context, x: &Tensor, out: &Tensor) -> Result<()> {
    turn(context, x, out, false)
}

/// Copies what is below a square matrix's diagonal to above it.
pub fn mirror(context: &Context, x: &Tensor) -> Result<()> {
    turn(context, x, x, true)
}

fn turn(context: &Context, x: &Tensor, out: &Tensor, mirror: bool) -> Result<()> {
    const NAME: &str = "transpose";
    if x.elements() == 0 {
        return Ok(());
    }
    let (from, to) = (panels(x)?, panels(out)?);
    // A matrix's own panel is bound once; something else then takes the other place.
    let nothing = memory::uninitialised(context, DType::F32, 1, 4)?;
    for source in 0..from.count() {
        for sink in 0..to.count() {
            let (rows, cols) = (from.panel_rows(source), to.panel_rows(sink));
            if mirror && rows.end <= cols.start + 1 {
                continue;
            }
            let in_place = mirror && source == sink;
            let params = transpose_kernel::Params {
                first_row: size(NAME, rows.start)?,
                first_col: size(NAME, cols.start)?,
                rows: size(NAME, rows.len())?,
                cols: size(NAME, cols.len())?,
                x_cols: size(NAME, x.cols())?,
                out_cols: size(NAME, out.cols())?,
                x_row: 0,
                out_row: 0,
            };
            let source = if in_place { panels(&nothing)?.binding(0) } else { from.binding(source) };
            let tiles = rows.len().div_ceil(SIDE_OF_TILE) * cols.len().div_ceil(SIDE_OF_TILE);
            context.dispatch(&Dispatch {
                kernel: &transpose_kernel::KERNEL,
                constants: &[
                    ("MIRROR", f64::from(u8::from(mirror))),
                    ("IN_PLACE", f64::from(u8::from(in_place))),
                ],
                bindings: &[source, to.binding(sink)],
                params: bytemuck::bytes_of(&params),
                workgroups: tiles as u64,
            })?;
        }
    }
    Ok(())
}

/// [`Op::Reverse`](crate::Op::Reverse), into memory of its own.
pub fn reverse(context: &Context, x: &mut Tensor) -> Result<()> {
    const NAME: &str = "reverse";
    if x.elements() == 0 {
        return Ok(());
    }
    let out = memory::uninitialised(context, DType::F32, x.rows(), x.cols())?;
    let (from, to) = (panels(x)?, panels(&out)?);
    let mut row = 0;
    while row < x.rows() {
        let (source, sink) = (from.part(x.rows() - 1 - row), to.part(row));
        let rows = sink.rows_left.min(source.row + 1);
        let params = reverse_kernel::Params {
            rows: size(NAME, rows)?,
            cols: size(NAME, x.cols())?,
            x_row: size(NAME, source.row)?,
            out_row: size(NAME, sink.row)?,
        };
        context.dispatch(&Dispatch {
            kernel: &reverse_kernel::KERNEL,
            constants: &[],
            bindings: &[source.binding, sink.binding],
            params: bytemuck::bytes_of(&params),
            workgroups: (rows * x.cols()).div_ceil(reverse_kernel::PER_WORKGROUP) as u64,
        })?;
        row += rows;
    }
    *x = out;
    Ok(())
}

/// [`Op::Diagonal`](crate::Op::Diagonal)
pub fn diagonal(context: &Context, x: &Tensor, out: &Tensor) -> Result<()> {
    along_diagonal(context, "diagonal", x, out, false)
}

/// [`Op::AddDiagonal`](crate::Op::AddDiagonal)
pub fn add_diagonal(context: &Context, d: &Tensor, x: &Tensor) -> Result<()> {
    along_diagonal(context, "add_diagonal", x, d, true)
}

fn along_diagonal(
    context: &Context,
    name: &'static str,
    matrix: &Tensor,
    diagonal: &Tensor,
    add: bool,
) -> Result<()> {
    if matrix.elements() == 0 {
        return Ok(());
    }
    let line = panels(diagonal)?.only(name)?;
    for segment in segments(matrix.rows(), [(panels(matrix)?, 0)]) {
        let [part] = &segment.parts;
        let params = diagonal_kernel::Params {
            rows: size(name, segment.rows.len())?,
            cols: size(name, matrix.cols())?,
            first: size(name, segment.rows.start)?,
            row: size(name, part.row)?,
        };
        let (source, sink) = match add {
            true => (line.clone(), part.binding.clone()),
            false => (part.binding.clone(), line.clone()),
        };
        context.dispatch(&Dispatch {
            kernel: &diagonal_kernel::KERNEL,
            constants: &[("ADD", f64::from(u8::from(add)))],
            bindings: &[source, sink],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len().div_ceil(diagonal_kernel::PER_WORKGROUP) as u64,
        })?;
    }
    Ok(())
}
