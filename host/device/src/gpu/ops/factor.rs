//! Cholesky factors and triangular matrices, blocked.

use super::{matmul, rectangle};
use crate::{
    DType, DeviceError, Operand, Result, Tensor,
    gpu::{
        Context, Dispatch, memory, panels,
        products::{Product, Shape},
        sizes::size,
        tune::Tuner,
    },
};
use espalier_shaders::triangle::{KERNEL, Params, SIDE};
use std::ops::Range;

/// Columns of an inverse that are joined at a time: enough to fill a GPU, and little memory beside a large matrix.
const STRIP: usize = 512;

/// [`Op::Cholesky`](crate::Op::Cholesky). Right-looking: a block of columns is factored
/// and then taken out of everything to its right.
///
/// # Errors
/// A pivot that is not positive, operands that do not fit, or a failing device.
pub(in crate::gpu) fn cholesky(context: &Context, tuner: &Tuner, x: &mut Tensor) -> Result<()> {
    const NAME: &str = "cholesky";
    let side = x.cols();
    if side == 0 {
        return Ok(());
    }
    // Apart, because a kernel reads the one and clears the upper half of the other.
    let lower = memory::uninitialised(context, DType::F32, side, side)?;
    rectangle::copy_lower(context, x, &lower)?;
    *x = lower;
    let status = memory::zeros(context, DType::U32, 1, 4)?;
    let inverse = memory::uninitialised(context, DType::F32, SIDE, SIDE)?;
    let columns = memory::uninitialised(context, DType::F32, side, SIDE)?;
    let lower = Shape { lower: true, ..Shape::default() };
    for block in blocks(x)? {
        let (width, below) = (block.len(), block.end..side);
        let place = panels(x)?.part(block.start);
        let params = Params {
            rows: size(NAME, width)?,
            start: size(NAME, place.row * side + block.start)?,
            stride: size(NAME, side)?,
            step: 0,
            first: size(NAME, block.start)?,
        };
        context.dispatch(&Dispatch {
            kernel: &KERNEL,
            constants: &[("INVERT", 0.0)],
            bindings: &[place.binding, panels(&inverse)?.only(NAME)?, panels(&status)?.only(NAME)?],
            params: bytemuck::bytes_of(&params),
            workgroups: 1,
        })?;
        if below.is_empty() {
            break;
        }
        // L₂₁ = x₂₁ · L₁₁⁻ᵀ, apart and back; then x₂₂ −= L₂₁ · L₂₁ᵀ.
        let old = x.block(below.clone(), block.clone());
        let inverse = inverse.block(0..width, 0..width).t();
        matmul::run(context, tuner, Product::new(1.0, old, inverse, 0.0, &columns, (below.start, 0)))?;
        let new = columns.block(below.clone(), 0..width);
        rectangle::carry(context, new, x, (below.start, block.start), false)?;
        matmul::run(
            context,
            tuner,
            Product::new(-1.0, new, new.t(), 1.0, x, (below.start, below.start)).shaped(lower),
        )?;
    }
    let status: Vec<u32> = bytemuck::pod_collect_to_vec(&context.fetch(panels(&status)?)?);
    match status[..] {
        [0, ..] => Ok(()),
        [_, pivot, value, ..] => {
            let value = f32::from_bits(value);
            Err(DeviceError::NotPositiveDefinite { pivot: pivot as usize, value })
        }
        _ => unreachable!("four words were made"),
    }
}

/// [`Op::TriangularInverse`](crate::Op::TriangularInverse). The blocks on the diagonal
/// first, all at once; then by halves, from small to large: of `[[A, 0], [B, C]]` with A and C inverted
/// already, the rest is `−C⁻¹ · B · A⁻¹`.
///
/// # Errors
/// A failing device; likewise for every operation here.
pub(in crate::gpu) fn triangular_inverse(context: &Context, tuner: &Tuner, l: &mut Tensor) -> Result<()> {
    const NAME: &str = "triangular_inverse";
    let side = l.cols();
    if side == 0 {
        return Ok(());
    }
    // Joining takes the factor as well as what is inverted of it.
    let out = memory::uninitialised(context, DType::F32, side, side)?;
    rectangle::copy_lower(context, l, &out)?;
    let matrix = panels(&out)?;
    for panel in 0..matrix.count() {
        let rows = matrix.panel_rows(panel);
        let params = Params {
            rows: size(NAME, rows.len())?,
            start: size(NAME, rows.start)?,
            stride: size(NAME, side)?,
            step: size(NAME, SIDE * (side + 1))?,
            first: size(NAME, rows.start)?,
        };
        invert(context, NAME, matrix.binding(panel), &params)?;
    }
    let blocks = blocks(&out)?;
    let middle = blocks[blocks.len() / 2].start;
    let half = middle.max(side - middle);
    let scratch = [
        memory::uninitialised(context, DType::F32, half, half.min(STRIP))?,
        memory::uninitialised(context, DType::F32, half, half.min(STRIP))?,
    ];
    join(context, tuner, l, &out, &blocks, &scratch)?;
    *l = out;
    Ok(())
}

/// Completes the inverse of the square that some blocks span, once the blocks themselves are inverted.
fn join(
    context: &Context,
    tuner: &Tuner,
    l: &Tensor,
    out: &Tensor,
    blocks: &[Range<usize>],
    scratch: &[Tensor; 2],
) -> Result<()> {
    let [first, .., last] = blocks else { return Ok(()) };
    let (upper, lower) = blocks.split_at(blocks.len() / 2);
    join(context, tuner, l, out, upper, scratch)?;
    join(context, tuner, l, out, lower, scratch)?;
    let (cols, rows) = (first.start..lower[0].start, lower[0].start..last.end);
    let [right, all] = scratch;
    let b = l.block(rows.clone(), cols.clone());
    let c_inverse = out.block(rows.clone(), rows.clone());
    for start in cols.clone().step_by(STRIP) {
        let strip = start..(start + STRIP).min(cols.end);
        let (right_part, all_part) =
            (right.block(0..rows.len(), 0..strip.len()), all.block(0..rows.len(), 0..strip.len()));
        let b_lower = Shape { b_lower: true, ..Shape::default() };
        let a_inverse = out.block(cols.clone(), strip.clone());
        matmul::run(context, tuner, Product::new(1.0, b, a_inverse, 0.0, right, (0, 0)).shaped(b_lower))?;
        let a_lower = Shape { a_lower: true, ..Shape::default() };
        matmul::run(
            context,
            tuner,
            Product::new(-1.0, c_inverse, right_part, 0.0, all, (0, 0)).shaped(a_lower),
        )?;
        rectangle::carry(context, all_part, out, (rows.start, start), false)?;
    }
    Ok(())
}

/// [`Op::TriangularSolve`](crate::Op::TriangularSolve). Block by block, from the top or,
/// for the transpose, from the bottom: what is solved is taken out of the rest at once.
pub(in crate::gpu) fn triangular_solve(
    context: &Context,
    tuner: &Tuner,
    l: &Tensor,
    transposed: bool,
    b: &mut Tensor,
) -> Result<()> {
    const NAME: &str = "triangular_solve";
    let (side, cols) = (l.cols(), b.cols());
    let block = memory::uninitialised(context, DType::F32, SIDE, SIDE)?;
    let solved = memory::uninitialised(context, DType::F32, SIDE, cols)?;
    let mut starts: Vec<usize> = (0..side).step_by(SIDE).collect();
    if transposed {
        starts.reverse();
    }
    for start in starts {
        let rows = start..(start + SIDE).min(side);
        let width = rows.len();
        let params = Params {
            rows: size(NAME, width)?,
            start: 0,
            stride: size(NAME, SIDE)?,
            step: 0,
            first: size(NAME, start)?,
        };
        rectangle::carry(context, l.block(rows.clone(), rows.clone()), &block, (0, 0), false)?;
        invert(context, NAME, panels(&block)?.only(NAME)?, &params)?;
        let inverse = Operand { transposed, ..block.block(0..width, 0..width) };
        let old = b.block(rows.clone(), 0..cols);
        matmul::run(context, tuner, Product::new(1.0, inverse, old, 0.0, &solved, (0, 0)))?;
        let new = solved.block(0..width, 0..cols);
        rectangle::carry(context, new, b, (start, 0), false)?;
        let (factors, rest) = match transposed {
            true => (l.block(rows.clone(), 0..start).t(), 0),
            false => (l.block(rows.end..side, rows.clone()), rows.end),
        };
        matmul::run(context, tuner, Product::new(-1.0, factors, new, 1.0, b, (rest, 0)))?;
    }
    Ok(())
}

/// [`Op::SymmetricEigen`](crate::Op::SymmetricEigen), by the CPU.
///
/// # Errors
/// An entry that is NaN or infinite, or a failing device.
pub(in crate::gpu) fn symmetric_eigen(context: &Context, x: &Tensor, out: &mut Tensor) -> Result<()> {
    let side = x.cols();
    let matrix: Vec<f32> = bytemuck::pod_collect_to_vec(&context.fetch(panels(x)?)?);
    let mut found = vec![0.0; (side + 1) * side];
    espalier_shaders::symmetric_eigen::cpu(&matrix, side, &mut found)
        .map_err(|_| DeviceError::NoDecomposition)?;
    context.write(panels(out)?, bytemuck::cast_slice(&found))
}

/// Inverts blocks on a diagonal in place.
fn invert(
    context: &Context,
    name: &'static str,
    matrix: wgpu::BufferBinding<'_>,
    params: &Params,
) -> Result<()> {
    // What a factorisation writes is bound, but not touched.
    let inverse = memory::uninitialised(context, DType::F32, 1, 4)?;
    let status = memory::uninitialised(context, DType::F32, 1, 4)?;
    context.dispatch(&Dispatch {
        kernel: &KERNEL,
        constants: &[("INVERT", 1.0)],
        bindings: &[matrix, panels(&inverse)?.only(name)?, panels(&status)?.only(name)?],
        params: bytemuck::bytes_of(params),
        workgroups: (params.rows as usize).div_ceil(SIDE) as u64,
    })
}

/// The blocks on a square matrix's diagonal: of [`SIDE`] rows, but none reaches into two panels.
fn blocks(x: &Tensor) -> Result<Vec<Range<usize>>> {
    let matrix = panels(x)?;
    let of_panel = |panel| {
        let rows: Range<usize> = matrix.panel_rows(panel);
        let end = rows.end;
        rows.step_by(SIDE).map(move |start| start..(start + SIDE).min(end))
    };
    Ok((0..matrix.count()).flat_map(of_panel).collect())
}
