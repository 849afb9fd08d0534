//! The operations, computed plainly.

use super::device::Plain;
use crate::{Axis, Code, Error, Reduction, Result, Selection, Within, service::Op};
use espalier_ops::{Block, Matrix, Repeat, Scores};

/// Computes an operation whose operands are checked.
pub(super) fn compute(op: &Op<&Plain>, out: &mut Plain) -> Result<()> {
    let (rows, cols) = (out.rows(), out.cols());
    match op {
        Op::Convert { x } => out.words.clone_from(&x.words),
        Op::CopyRows { x, start } => out.words.copy_from_slice(&x.words[start * cols..][..rows * cols]),
        Op::Copy { from, to } => {
            for row in 0..from.rows {
                let source =
                    &from.tensor.words[(from.row + row) * from.tensor.cols() + from.col..][..from.cols];
                out.words[(to.0 + row) * cols + to.1..][..from.cols].copy_from_slice(source);
            }
        }
        Op::Map { x, f, scale, shift } => fill(out, |row, col| scale * f.of(x.at(row, col)) + shift),
        Op::Zip { a, b, f, op, alpha } => {
            let b = repeated(b, (rows, cols))?;
            fill(out, |row, col| op.of(f.of(a.at(row, col)), alpha * b(row, col)));
        }
        Op::Update { b, f, scale, op, alpha } => {
            let b = repeated(b, (rows, cols))?;
            for row in 0..rows {
                for col in 0..cols {
                    let x = op.of(f.of(scale * out.at(row, col)), alpha * b(row, col));
                    out.set(row, col, x);
                }
            }
        }
        Op::Reduce { x, f, axis, accumulate } => {
            let place = |index: usize| if *axis == Axis::EachRow { (index, 0) } else { (0, index) };
            let (results, count) = if *axis == Axis::EachRow { (rows, x.cols()) } else { (cols, x.rows()) };
            for index in 0..results {
                let elements = (0..count)
                    .map(|at| if *axis == Axis::EachRow { x.at(index, at) } else { x.at(at, index) });
                let (row, col) = place(index);
                let before = if *accumulate { out.at(row, col) } else { 0.0 };
                out.set(row, col, reduced(*f, elements, before));
            }
        }
        Op::Select { scores, selection } => {
            let places = selected(&evaluated(scores)?, *selection);
            set_mask(out, scores.a.cols(), places);
        }
        Op::SelectCounts { scores, counts } => {
            let values = evaluated(scores)?;
            let places = (0..values.len()).flat_map(|row| {
                let count = (counts.words[row] as usize).min(values[row].len());
                let row_alone = selected(&values[row..=row], Selection::EachRow { count });
                row_alone.into_iter().map(move |(_, col)| (row, col)).collect::<Vec<_>>()
            });
            set_mask(out, scores.a.cols(), places.collect());
        }
        Op::ZeroWhere { mask } => {
            for row in 0..rows {
                for col in 0..cols {
                    if mask.words[row * mask.cols() + col / 32] >> (col % 32) & 1 == 1 {
                        out.set(row, col, 0.0);
                    }
                }
            }
        }
        Op::KthSmallest { scores, within, k } => {
            let values = evaluated(scores)?;
            match within {
                Within::EachRow => {
                    for (row, mut scores) in values.into_iter().enumerate() {
                        scores.sort_by(f32::total_cmp);
                        out.set(row, 0, scores[*k]);
                    }
                }
                Within::Whole => {
                    let mut all = values.concat();
                    all.sort_by(f32::total_cmp);
                    out.set(0, 0, all[*k]);
                }
            }
        }
        Op::AtMost { scores, thresholds } => {
            let values = evaluated(scores)?;
            let mut places = Vec::new();
            for (row, scores) in values.iter().enumerate() {
                let threshold = thresholds.at(if thresholds.rows() == 1 { 0 } else { row }, 0);
                let below = scores.iter().enumerate().filter(|(_, score)| **score <= threshold);
                places.extend(below.map(|(col, _)| (row, col)));
            }
            set_mask(out, scores.a.cols(), places);
        }
        Op::Gram { x } => {
            let before = out.clone();
            fill(out, |i, j| {
                let sum: f64 = (0..x.rows()).map(|t| f64::from(x.at(t, i)) * f64::from(x.at(t, j))).sum();
                (f64::from(before.at(i, j)) + sum) as f32
            });
        }
        Op::Matmul { a, b, alpha, beta, to } => matmul(a, b, (*alpha, *beta), *to, out),
        Op::Transpose { x } => fill(out, |row, col| x.at(col, row)),
        Op::Reverse {} => {
            let before = out.clone();
            fill(out, |row, col| before.at(rows - 1 - row, cols - 1 - col));
        }
        Op::Diagonal { x } => fill(out, |_, col| x.at(col, col)),
        Op::AddDiagonal { d } => (0..rows).for_each(|j| out.set(j, j, out.at(j, j) + d.at(0, j))),
        Op::Cholesky {} => cholesky(out)?,
        Op::SymmetricEigen { x } => eigen(x, out)?,
        Op::TriangularInverse {} => {
            let l = out.clone();
            fill(out, |row, col| f32::from(u8::from(row == col)));
            solve(&l, false, out);
        }
        Op::TriangularSolve { l, transposed } => solve(l, *transposed, out),
        Op::ScatterRows { .. }
        | Op::CausalSoftmax { .. }
        | Op::RmsNorm { .. }
        | Op::Rope { .. }
        | Op::Attention { .. }
        | Op::CrossEntropy { .. }
        | Op::CrossEntropyGradient { .. }
        | Op::JsDivergence { .. } => {
            let message = "an operation of the forward pass, which the plain device does not have";
            return Err(Error::new(Code::Unsupported, message));
        }
    }
    Ok(())
}

/// Writes every element.
fn fill(out: &mut Plain, value: impl Fn(usize, usize) -> f32) {
    for row in 0..out.rows() {
        for col in 0..out.cols() {
            out.set(row, col, value(row, col));
        }
    }
}

fn reduced(f: Reduction, elements: impl Iterator<Item = f32>, before: f32) -> f32 {
    let start = f64::from(before);
    let sum = match f {
        Reduction::Sum => start + elements.map(f64::from).sum::<f64>(),
        Reduction::SumAbs => start + elements.map(|x| f64::from(x.abs())).sum::<f64>(),
        Reduction::SumSquares => start + elements.map(|x| f64::from(x) * f64::from(x)).sum::<f64>(),
        Reduction::MaxAbs => elements.fold(start, |largest, x| {
            let x = f64::from(x.abs());
            if x.is_nan() || largest.is_nan() { f64::NAN } else { largest.max(x) }
        }),
    };
    sum as f32
}

/// The scores, row by row.
fn evaluated(scores: &Scores<&Plain>) -> Result<Vec<Vec<f32>>> {
    let value = |row: usize, col: usize| {
        let value = scores.f.of(scores.a.at(row, col));
        let value = scores.by.map_or(value, |(op, by)| op.of(value, by.at(0, col)));
        let problem = match value {
            _ if value.is_nan() => "NaN",
            _ if value < 0.0 => "negative",
            _ => return Ok(value),
        };
        let message = format!("the score at row {row}, column {col} is {problem}; scores are not negative");
        Err(Error::new(Code::Numeric, message))
    };
    (0..scores.a.rows()).map(|row| (0..scores.a.cols()).map(|col| value(row, col)).collect()).collect()
}

/// The elements of a matrix that is repeated where it is smaller than this shape.
fn repeated(b: &Plain, shape: (usize, usize)) -> Result<impl Fn(usize, usize) -> f32> {
    let repeat = Repeat::of(b, shape).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(move |row, col| {
        let (row, col) = match repeat {
            Repeat::Nowhere => (row, col),
            Repeat::Row => (0, col),
            Repeat::Column => (row, 0),
            Repeat::Number => (0, 0),
        };
        b.at(row, col)
    })
}

/// The places of the selected scores. Sorting is stable, so ties go to the lower row and column.
fn selected(scores: &[Vec<f32>], selection: Selection) -> Vec<(usize, usize)> {
    let sorted = |mut places: Vec<(usize, usize)>| {
        places.sort_by(|a, b| scores[a.0][a.1].total_cmp(&scores[b.0][b.1]));
        places
    };
    let of_row = |row: usize| (0..scores[row].len()).map(|col| (row, col)).collect::<Vec<_>>();
    let rows = 0..scores.len();
    match selection {
        Selection::EachRow { count } => {
            rows.flat_map(|row| sorted(of_row(row)).into_iter().take(count)).collect()
        }
        Selection::Groups { n, m } => {
            let groups = |row: usize| of_row(row).chunks(m).map(<[_]>::to_vec).collect::<Vec<_>>();
            rows.flat_map(groups).flat_map(|group| sorted(group).into_iter().take(n)).collect()
        }
        Selection::Whole { count } => {
            sorted(rows.flat_map(of_row).collect()).into_iter().take(count).collect()
        }
        Selection::RowMass { share } => rows
            .flat_map(|row| {
                let total: f64 = scores[row].iter().map(|score| f64::from(*score)).sum();
                let mut sum = 0.0;
                sorted(of_row(row)).into_iter().take_while(move |&(row, col)| {
                    sum += f64::from(scores[row][col]);
                    sum <= f64::from(share) * total
                })
            })
            .collect(),
    }
}

/// Sets these bits of a mask and clears all others.
fn set_mask(mask: &mut Plain, cols: usize, places: Vec<(usize, usize)>) {
    let words = cols.div_ceil(32);
    mask.words.fill(0);
    for (row, col) in places {
        mask.words[row * words + col / 32] |= 1 << (col % 32);
    }
}

fn matmul(
    a: &Block<&Plain>,
    b: &Block<&Plain>,
    (alpha, beta): (f32, f32),
    to: (usize, usize),
    out: &mut Plain,
) {
    let at = |block: &Block<&Plain>, row: usize, col: usize| {
        let (row, col) = if block.transposed { (col, row) } else { (row, col) };
        f64::from(block.tensor.at(block.row + row, block.col + col))
    };
    let ((rows, inner), (_, cols)) = (a.shape(), b.shape());
    for row in 0..rows {
        for col in 0..cols {
            let sum: f64 = (0..inner).map(|k| at(a, row, k) * at(b, k, col)).sum();
            let (i, j) = (to.0 + row, to.1 + col);
            let before = if beta == 0.0 { 0.0 } else { f64::from(beta) * f64::from(out.at(i, j)) };
            out.set(i, j, (f64::from(alpha) * sum + before) as f32);
        }
    }
}

/// The lower factor, in place.
fn cholesky(out: &mut Plain) -> Result<()> {
    let n = out.rows();
    for j in 0..n {
        for i in j..n {
            let known: f64 = (0..j).map(|k| f64::from(out.at(i, k)) * f64::from(out.at(j, k))).sum();
            let rest = f64::from(out.at(i, j)) - known;
            if i == j && (rest.is_nan() || rest <= 0.0) {
                let message = format!("the matrix is not positive definite: its pivot {j} is {rest:e}");
                return Err(Error::new(Code::Numeric, message));
            }
            let value = if i == j { rest.sqrt() } else { rest / f64::from(out.at(j, j)) };
            out.set(i, j, value as f32);
        }
        (0..j).for_each(|row| out.set(row, j, 0.0));
    }
    Ok(())
}

/// Eigenvalues above eigenvectors, by turning one pair of rows and columns after the other until nothing is beside the
/// diagonal (Jacobi, 1846).
fn eigen(x: &Plain, out: &mut Plain) -> Result<()> {
    let n = x.rows();
    let mut a: Vec<f64> =
        (0..n * n).map(|at| f64::from(x.at((at / n).max(at % n), (at / n).min(at % n)))).collect();
    if a.iter().any(|entry| !entry.is_finite()) {
        return Err(Error::new(Code::Numeric, "the matrix has no eigenvalues: an entry is NaN or infinite"));
    }
    // Eigenvectors, one a row.
    let mut v: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect();
    let size: f64 = a.iter().map(|entry| entry * entry).sum();
    for _ in 0..60 {
        let beside = (0..n * n).filter(|at| at / n != at % n).map(|at| a[at] * a[at]).sum::<f64>();
        if beside <= 1e-24 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p * n + q] == 0.0 {
                    continue;
                }
                let theta = 0.5 * (2.0 * a[p * n + q]).atan2(a[q * n + q] - a[p * n + p]);
                let (sin, cos) = theta.sin_cos();
                let turn = |(i, j): (usize, usize), x: &mut [f64]| {
                    (x[i], x[j]) = (cos * x[i] - sin * x[j], sin * x[i] + cos * x[j]);
                };
                (0..n).for_each(|k| turn((k * n + p, k * n + q), &mut a));
                (0..n).for_each(|k| turn((p * n + k, q * n + k), &mut a));
                (0..n).for_each(|k| turn((p * n + k, q * n + k), &mut v));
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[i * n + i].total_cmp(&a[j * n + j]));
    for (row, &from) in order.iter().enumerate() {
        out.set(0, row, a[from * n + from] as f32);
        (0..n).for_each(|col| out.set(1 + row, col, v[from * n + col] as f32));
    }
    Ok(())
}

/// `L⁻¹ out` or `L⁻ᵀ out`, in place.
fn solve(l: &Plain, transposed: bool, out: &mut Plain) {
    let n = l.rows();
    let at = |row: usize, col: usize| f64::from(if transposed { l.at(col, row) } else { l.at(row, col) });
    for col in 0..out.cols() {
        for step in 0..n {
            let row = if transposed { n - 1 - step } else { step };
            let known = if transposed { row + 1..n } else { 0..row };
            let sum: f64 = known.map(|k| at(row, k) * f64::from(out.at(k, col))).sum();
            out.set(row, col, ((f64::from(out.at(row, col)) - sum) / at(row, row)) as f32);
        }
    }
}
