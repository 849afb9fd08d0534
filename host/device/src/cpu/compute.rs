//! Operations on the CPU: each calls its kernel's twin.

use super::memory::{
    bytes, bytes_mut, bytes_over, f32s, f32s_mut, f32s_over, floats, floats_over, u32s, u32s_mut,
};
use crate::{Axis, DeviceError, Op, Operand, Repeat, Result, Scores, Selection, Tensor, Within};
use espalier_shaders::{self as kernels, matmul::Rectangle};

pub(super) fn compute(op: Op<&Tensor>, out: &mut Tensor) -> Result<()> {
    let name = op.name();
    let cols = out.cols();
    match op {
        Op::Convert { x } => kernels::convert::cpu(floats(x)?, floats_over(out)?),
        Op::CopyRows { x, start } => {
            let start = start * x.cols() * x.dtype().size();
            let out = bytes_over(out)?;
            out.copy_from_slice(&bytes(x)?[start..start + out.len()]);
        }
        Op::ScatterRows { x, places } => {
            let places = u32s(places)?;
            expect_below(name, "row", places, out.rows())?;
            kernels::scatter_rows::cpu(f32s(x)?, cols, places, f32s_mut(out)?);
        }
        Op::Copy { from, to } => copy(from, out, to)?,
        Op::RmsNorm { x, weight, eps } => {
            kernels::rms_norm::cpu(f32s(x)?, floats(weight)?, eps, cols, f32s_over(out)?);
        }
        Op::Rope { table, positions, head_dim } => {
            let positions = u32s(positions)?;
            expect_below(name, "position", positions, table.rows())?;
            kernels::rope::cpu(f32s_mut(out)?, cols, head_dim, f32s(table)?, positions);
        }
        Op::Attention { q, k, v, shape, spans } => {
            kernels::attention::cpu(f32s(q)?, f32s(k)?, f32s(v)?, &shape, &spans, f32s_mut(out)?);
        }
        Op::CrossEntropy { logits, targets } => {
            let targets = u32s(targets)?;
            expect_below(name, "target", targets, logits.cols())?;
            kernels::cross_entropy::cpu(f32s(logits)?, logits.cols(), targets, f32s_mut(out)?);
        }
        Op::CrossEntropyGradient { logits, targets, factors } => {
            let targets = u32s(targets)?;
            expect_below(name, "target", targets, logits.cols())?;
            let (logits, vocab) = (f32s(logits)?, logits.cols());
            kernels::cross_entropy_gradient::cpu(logits, vocab, targets, f32s(factors)?, f32s_over(out)?);
        }
        Op::JsDivergence { a, b } => {
            kernels::js_divergence::cpu(f32s(a)?, f32s(b)?, a.cols(), f32s_mut(out)?);
        }
        Op::CausalSoftmax { scale, window } => {
            let shape = (out.rows(), out.cols());
            kernels::causal_softmax::cpu(f32s_mut(out)?, shape, scale, window);
        }
        Op::Map { x, f, scale, shift } => kernels::map::cpu(f, f32s(x)?, scale, shift, f32s_over(out)?),
        Op::Zip { a, b, f, op, alpha } => {
            let shape = (a.rows(), a.cols());
            let repeat = Repeat::of(b, shape).map_err(DeviceError::operand(name))?;
            kernels::zip::cpu(f, f32s(a)?, op, alpha, f32s(b)?, repeat, shape, f32s_over(out)?);
        }
        Op::Update { b, f, scale, op, alpha } => {
            let repeat = Repeat::of(b, (out.rows(), cols)).map_err(DeviceError::operand(name))?;
            kernels::update::cpu((f, scale), op, (alpha, f32s(b)?, repeat), f32s_mut(out)?, cols);
        }
        Op::Reduce { x, f, axis: Axis::EachRow, accumulate } => {
            kernels::reduce_rows::cpu(f, f32s(x)?, x.cols(), accumulate, f32s_mut(out)?);
        }
        Op::Reduce { x, f, axis: Axis::EachColumn, accumulate } => {
            kernels::reduce_columns::cpu(f, f32s(x)?, accumulate, f32s_mut(out)?);
        }
        Op::Select { scores, selection } => {
            let (scores, mask) = (ranked(scores)?, u32s_mut(out)?);
            match selection {
                Selection::EachRow { count } => kernels::select_rows::cpu(scores, count, mask),
                Selection::Groups { n, m } => kernels::select_groups::cpu(scores, n, m, mask),
                Selection::Whole { count } => kernels::select_whole::cpu(scores, count, mask),
                Selection::RowMass { share } => kernels::select_mass::cpu(scores, share, mask),
            }
        }
        Op::SelectCounts { scores, counts } => {
            kernels::select_counts::cpu(ranked(scores)?, u32s(counts)?, u32s_mut(out)?);
        }
        Op::ZeroWhere { mask } => kernels::zero_where::cpu(u32s(mask)?, cols, f32s_mut(out)?),
        Op::KthSmallest { scores, within: Within::EachRow, k } => {
            kernels::kth_in_rows::cpu(ranked(scores)?, k, f32s_mut(out)?);
        }
        Op::KthSmallest { scores, within: Within::Whole, k } => {
            f32s_mut(out)?[0] = kernels::kth_smallest::cpu(ranked(scores)?, k);
        }
        Op::AtMost { scores, thresholds } => {
            kernels::at_most::cpu(ranked(scores)?, f32s(thresholds)?, u32s_mut(out)?);
        }
        Op::Gram { x } => kernels::gram::cpu(f32s(x)?, cols, f32s_mut(out)?),
        Op::Matmul { a, b, alpha, beta, to } => {
            let (a, b) = (rectangle(a)?, rectangle(b)?);
            let whole = (a.shape().0, b.shape().1) == (out.rows(), cols);
            let out = if whole && beta == 0.0 { f32s_over(out)? } else { f32s_mut(out)? };
            kernels::matmul::cpu(alpha, a, b, beta, out, cols, to);
        }
        Op::Transpose { x } => kernels::transpose::cpu(f32s(x)?, x.cols(), f32s_over(out)?),
        Op::Reverse {} => kernels::reverse::cpu(f32s_mut(out)?),
        Op::Diagonal { x } => kernels::diagonal::take(f32s(x)?, f32s_mut(out)?),
        Op::AddDiagonal { d } => kernels::diagonal::add(f32s(d)?, f32s_mut(out)?),
        Op::Cholesky {} => {
            let factored = kernels::cholesky::cpu(f32s_mut(out)?, cols);
            factored.map_err(|error| DeviceError::NotPositiveDefinite {
                pivot: error.pivot,
                value: error.value,
            })?;
        }
        Op::TriangularInverse {} => kernels::triangular_inverse::cpu(f32s_mut(out)?, cols),
        Op::SymmetricEigen { x } => {
            kernels::symmetric_eigen::cpu(f32s(x)?, x.cols(), f32s_mut(out)?)
                .map_err(|_| DeviceError::NoDecomposition)?;
        }
        Op::TriangularSolve { l, transposed } => {
            kernels::triangular_solve::cpu(f32s(l)?, l.cols(), transposed, f32s_mut(out)?, cols);
        }
    }
    Ok(())
}

fn copy(from: Operand, out: &mut Tensor, to: (usize, usize)) -> Result<()> {
    let size = out.dtype().size();
    let (stride, out_stride) = (from.tensor.cols() * size, out.cols() * size);
    kernels::copy_block::cpu(
        bytes(from.tensor)?,
        stride,
        (from.row, from.col * size),
        (from.rows, from.cols * size),
        bytes_mut(out)?,
        out_stride,
        (to.0, to.1 * size),
    );
    Ok(())
}

fn rectangle(operand: Operand<'_>) -> Result<Rectangle<'_>> {
    Ok(Rectangle {
        matrix: f32s(operand.tensor)?,
        stride: operand.tensor.cols(),
        from: (operand.row, operand.col),
        size: (operand.rows, operand.cols),
        transposed: operand.transposed,
    })
}

/// Scores, as the kernels take them.
fn ranked(scores: Scores<'_>) -> Result<kernels::Scores<'_>> {
    let by = scores.by.map(|(op, row)| Ok::<_, DeviceError>((op, f32s(row)?))).transpose()?;
    Ok(kernels::Scores { f: scores.f, a: f32s(scores.a)?, cols: scores.a.cols(), by })
}

fn expect_below(operation: &'static str, what: &str, indices: &[u32], limit: usize) -> Result<()> {
    match indices.iter().max() {
        Some(&most) if most as usize >= limit => Err(DeviceError::Invalid {
            operation,
            message: format!("a {what} is {most}, but there are only {limit}"),
        }),
        _ => Ok(()),
    }
}
