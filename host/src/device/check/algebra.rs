//! The same for linear algebra, ranks and plugins' own kernels.

use super::{all_f32, invalid};
use crate::device::{Binding, DType, Operand, Result, Scores, Tensor, Within};

/// Checks the operands of [`kth_smallest`](crate::device::Device::kth_smallest).
///
/// # Errors
/// What does not fit; so for every function below.
pub fn kth_smallest(scores: &Scores, within: Within, k: usize, out: &Tensor) -> Result<()> {
    const NAME: &str = "kth_smallest";
    ranked(NAME, scores)?;
    all_f32(NAME, [out])?;
    let (rows, count) = match within {
        Within::EachRow => (scores.a.rows(), scores.a.cols()),
        Within::Whole => (1, scores.a.elements()),
    };
    out.expect_shape(NAME, rows, 1)?;
    if k >= count {
        return Err(invalid(NAME, format!("place {k}, from 0, of {count} scores")));
    }
    Ok(())
}

/// Checks the operands of [`at_most`](crate::device::Device::at_most).
pub fn at_most(scores: &Scores, thresholds: &Tensor, mask: &Tensor) -> Result<()> {
    const NAME: &str = "at_most";
    masked(NAME, scores, mask)?;
    all_f32(NAME, [thresholds])?;
    let rows = if thresholds.rows() == 1 { 1 } else { scores.a.rows() };
    thresholds.expect_shape(NAME, rows, 1)
}

/// Checks scores and the mask that becomes of them.
pub(super) fn masked(operation: &'static str, scores: &Scores, mask: &Tensor) -> Result<()> {
    ranked(operation, scores)?;
    mask.expect_dtype(operation, &[DType::U32])?;
    mask.expect_shape(operation, scores.a.rows(), scores.a.cols().div_ceil(32))
}

fn ranked(operation: &'static str, scores: &Scores) -> Result<()> {
    all_f32(operation, [scores.a])?;
    let Some((_, by)) = scores.by else { return Ok(()) };
    all_f32(operation, [by])?;
    by.expect_shape(operation, 1, scores.a.cols())
}

/// Checks the operands of [`gram`](crate::device::Device::gram).
pub fn gram(x: &Tensor, gram: &Tensor) -> Result<()> {
    const NAME: &str = "gram";
    all_f32(NAME, [x, gram])?;
    gram.expect_shape(NAME, x.cols(), x.cols())
}

/// Checks the operands of [`matmul`](crate::device::Device::matmul).
pub fn matmul(a: &Operand, b: &Operand, c: &Tensor, to: (usize, usize)) -> Result<()> {
    const NAME: &str = "matmul";
    all_f32(NAME, [a.tensor, b.tensor, c])?;
    inside(NAME, a)?;
    inside(NAME, b)?;
    let ((m, k), (inner, n)) = (a.shape(), b.shape());
    if k != inner {
        return Err(invalid(NAME, format!("[{m}, {k}] times [{inner}, {n}]")));
    }
    fits(NAME, c, to, (m, n))
}

/// Checks the operands of [`copy`](crate::device::Device::copy).
pub fn copy(from: &Operand, out: &Tensor, to: (usize, usize)) -> Result<()> {
    const NAME: &str = "copy";
    out.expect_dtype(NAME, &[from.tensor.dtype()])?;
    inside(NAME, from)?;
    if from.transposed {
        return Err(invalid(NAME, "a copy is not transposed; there is an operation for that"));
    }
    fits(NAME, out, to, from.shape())
}

/// Checks the operands of [`transpose`](crate::device::Device::transpose).
pub fn transpose(x: &Tensor, out: &Tensor) -> Result<()> {
    all_f32("transpose", [x, out])?;
    out.expect_shape("transpose", x.cols(), x.rows())
}

/// Checks that two operands are f32 and of one shape.
pub fn same_shape(operation: &'static str, x: &Tensor, out: &Tensor) -> Result<()> {
    all_f32(operation, [x, out])?;
    out.expect_shape(operation, x.rows(), x.cols())
}

/// Checks that an operand is square.
pub fn square(operation: &'static str, x: &Tensor) -> Result<()> {
    x.expect_shape(operation, x.cols(), x.cols())
}

/// Checks a square matrix and its diagonal.
pub fn diagonal(operation: &'static str, x: &Tensor, d: &Tensor) -> Result<()> {
    all_f32(operation, [x, d])?;
    square(operation, x)?;
    d.expect_shape(operation, 1, x.cols())
}

/// Checks the operands of [`triangular_solve`](crate::device::Device::triangular_solve).
pub fn triangular_solve(l: &Tensor, b: &Tensor) -> Result<()> {
    const NAME: &str = "triangular_solve";
    all_f32(NAME, [l, b])?;
    square(NAME, l)?;
    b.expect_shape(NAME, l.cols(), b.cols())
}

/// Checks a tensor that is bound to a plugin's kernel.
pub fn bound(kernel: &str, binding: &Binding) -> Result<()> {
    let tensor = match binding {
        Binding::Read(tensor) => *tensor,
        Binding::Write(tensor) => tensor,
    };
    match tensor.dtype() {
        DType::F32 | DType::U32 => Ok(()),
        dtype => Err(invalid(
            "run",
            format!("the kernel {kernel} is given a tensor of {dtype}: f32 or u32 is due"),
        )),
    }
}

fn inside(operation: &'static str, operand: &Operand) -> Result<()> {
    let tensor = operand.tensor;
    if operand.rows.end > tensor.rows() || operand.cols.end > tensor.cols() {
        let (rows, cols) = (&operand.rows, &operand.cols);
        let shape = format!("[{}, {}]", tensor.rows(), tensor.cols());
        return Err(invalid(operation, format!("rows {rows:?} and columns {cols:?} of a {shape} tensor")));
    }
    Ok(())
}

fn fits(operation: &'static str, out: &Tensor, to: (usize, usize), size: (usize, usize)) -> Result<()> {
    let ends = (to.0.saturating_add(size.0), to.1.saturating_add(size.1));
    if ends.0 > out.rows() || ends.1 > out.cols() {
        let (rows, cols) = (out.rows(), out.cols());
        return Err(invalid(
            operation,
            format!("a {size:?} rectangle at {to:?} of a [{rows}, {cols}] tensor"),
        ));
    }
    Ok(())
}
