//! Statistics and pruning on the CPU.

use espalier_shaders as kernels;

use super::memory::{f32s, f32s_mut, u32s, u32s_mut};
use crate::device::{Axis, Binary, DeviceError, Reduction, Result, Scores, Selection, Tensor, Unary, check};

pub(super) fn map(f: Unary, x: &Tensor, scale: f32, shift: f32, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "map";
    check::map(x, out)?;
    kernels::map::cpu(unary(f), f32s(NAME, x)?, scale, shift, f32s_mut(NAME, out)?);
    Ok(())
}

pub(super) fn zip(f: Unary, a: &Tensor, op: Binary, alpha: f32, b: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "zip";
    let repeat = check::zip(a, b, out)?;
    let shape = (a.rows(), a.cols());
    kernels::zip::cpu(
        unary(f),
        f32s(NAME, a)?,
        binary(op),
        alpha,
        f32s(NAME, b)?,
        repeat,
        shape,
        f32s_mut(NAME, out)?,
    );
    Ok(())
}

pub(super) fn reduce(f: Reduction, axis: Axis, x: &Tensor, accumulate: bool, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "reduce";
    check::reduce(axis, x, out)?;
    let f = match f {
        Reduction::Sum => kernels::Reduction::Sum,
        Reduction::SumAbs => kernels::Reduction::SumAbs,
        Reduction::SumSquares => kernels::Reduction::SumSquares,
        Reduction::MaxAbs => kernels::Reduction::MaxAbs,
    };
    let out = f32s_mut(NAME, out)?;
    match axis {
        Axis::EachRow => kernels::reduce_rows::cpu(f, f32s(NAME, x)?, x.cols(), accumulate, out),
        Axis::EachColumn => kernels::reduce_columns::cpu(f, f32s(NAME, x)?, accumulate, out),
    }
    Ok(())
}

pub(super) fn select(scores: Scores, selection: Selection, mask: &mut Tensor) -> Result<()> {
    const NAME: &str = "select";
    check::select(&scores, selection, mask)?;
    let (scores, mask) = (ranked(NAME, scores)?, u32s_mut(NAME, mask)?);
    match selection {
        Selection::EachRow { count } => kernels::select_rows::cpu(scores, count, mask),
        Selection::Groups { n, m } => kernels::select_groups::cpu(scores, n, m, mask),
        Selection::Whole { count } => kernels::select_whole::cpu(scores, count, mask),
        Selection::RowMass { share } => kernels::select_mass::cpu(scores, share, mask),
    }
    Ok(())
}

pub(super) fn zero_where(mask: &Tensor, x: &mut Tensor) -> Result<()> {
    const NAME: &str = "zero_where";
    check::zero_where(mask, x)?;
    let cols = x.cols();
    kernels::zero_where::cpu(u32s(NAME, mask)?, cols, f32s_mut(NAME, x)?);
    Ok(())
}

/// Scores, as the kernels take them.
pub(super) fn ranked<'a>(operation: &'static str, scores: Scores<'a>) -> Result<kernels::Scores<'a>> {
    let by =
        scores.by.map(|(op, by)| Ok::<_, DeviceError>((binary(op), f32s(operation, by)?))).transpose()?;
    Ok(kernels::Scores { f: unary(scores.f), a: f32s(operation, scores.a)?, cols: scores.a.cols(), by })
}

fn binary(op: Binary) -> kernels::Binary {
    match op {
        Binary::Add => kernels::Binary::Add,
        Binary::Subtract => kernels::Binary::Subtract,
        Binary::Multiply => kernels::Binary::Multiply,
        Binary::Divide => kernels::Binary::Divide,
    }
}

fn unary(f: Unary) -> kernels::Unary {
    match f {
        Unary::Identity => kernels::Unary::Identity,
        Unary::Abs => kernels::Unary::Abs,
        Unary::Square => kernels::Unary::Square,
        Unary::Sqrt => kernels::Unary::Sqrt,
        Unary::Reciprocal => kernels::Unary::Reciprocal,
    }
}
