//! The check of an operation's operands, the same on every device.

use crate::{Axis, Block, DType, Matrix, Op, Repeat, Scores, Selection, Span, Within};
use std::fmt;

/// Why operands do not fit an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperandError {
    /// A tensor of the wrong shape.
    Shape {
        /// The shape that fits.
        expected: String,
        /// The tensor's rows and columns.
        found: (usize, usize),
    },
    /// A tensor of the wrong element type.
    Type {
        /// The types that fit.
        expected: &'static [DType],
        /// The tensor's.
        found: DType,
    },
    /// Anything else.
    Invalid(String),
}

impl fmt::Display for OperandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { expected, found: (rows, cols) } => {
                write!(f, "a tensor of shape {expected} is needed, but this one is [{rows}, {cols}]")
            }
            Self::Type { expected, found } => {
                let expected: Vec<_> = expected.iter().map(DType::to_string).collect();
                write!(f, "a tensor of {} is needed, but this one is {found}", expected.join(" or "))
            }
            Self::Invalid(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for OperandError {}

type Result<T = (), E = OperandError> = std::result::Result<T, E>;

const F32: &[DType] = &[DType::F32];
const U32: &[DType] = &[DType::U32];
const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16];

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(OperandError::Invalid(message.into()))
}

impl OperandError {
    /// Checks an element type.
    ///
    /// # Errors
    /// Another type.
    pub fn expect_type(x: &impl Matrix, expected: &'static [DType]) -> Result {
        if expected.contains(&x.dtype()) { Ok(()) } else { Err(Self::Type { expected, found: x.dtype() }) }
    }

    /// Checks a shape.
    ///
    /// # Errors
    /// Another shape.
    pub fn expect_shape(x: &impl Matrix, rows: usize, cols: usize) -> Result {
        let found = (x.rows(), x.cols());
        if found == (rows, cols) {
            Ok(())
        } else {
            Err(Self::Shape { expected: format!("[{rows}, {cols}]"), found })
        }
    }

    /// Checks a matrix in any floating-point type.
    ///
    /// # Errors
    /// Another type or shape.
    pub fn expect_floats(x: &impl Matrix, rows: usize, cols: usize) -> Result {
        Self::expect_type(x, FLOATS)?;
        Self::expect_shape(x, rows, cols)
    }
}

fn expect(x: &impl Matrix, dtype: &'static [DType], rows: usize, cols: usize) -> Result {
    OperandError::expect_type(x, dtype)?;
    OperandError::expect_shape(x, rows, cols)
}

fn f32(x: &impl Matrix, rows: usize, cols: usize) -> Result {
    expect(x, F32, rows, cols)
}

fn floats<M: Matrix>(x: &M) -> Result<(usize, usize)> {
    OperandError::expect_type(x, F32)?;
    Ok((x.rows(), x.cols()))
}

fn square(x: &impl Matrix) -> Result<usize> {
    f32(x, x.cols(), x.cols())?;
    Ok(x.cols())
}

fn mask(x: &impl Matrix, rows: usize, cols: usize) -> Result {
    expect(x, U32, rows, cols.div_ceil(32))
}

impl<T: Matrix> Op<T> {
    /// Checks that the inputs and `out` fit the operation. Not checked are the elements of index tensors (rows,
    /// positions, targets).
    ///
    /// # Errors
    /// The first operand that does not fit.
    pub fn check(&self, out: &impl Matrix) -> Result {
        match self {
            Self::Convert { x } => {
                OperandError::expect_type(x, FLOATS)?;
                OperandError::expect_floats(out, x.rows(), x.cols())
            }
            Self::CopyRows { x, start } => copy_rows(x, *start, out),
            Self::ScatterRows { x, places } => {
                let (rows, cols) = floats(x)?;
                f32(out, out.rows(), cols)?;
                expect(places, U32, rows, 1)
            }
            Self::Copy { from, to } => {
                if out.dtype() != from.tensor.dtype() {
                    return invalid(format!(
                        "a rectangle of {} is copied to a tensor of {}: both must be of one type",
                        from.tensor.dtype(),
                        out.dtype()
                    ));
                }
                from.check()?;
                if from.transposed {
                    return invalid("a copy is not transposed; use the operation `transpose`");
                }
                fits(out, *to, from.shape())
            }
            Self::RmsNorm { x, weight, .. } => {
                let (rows, cols) = floats(x)?;
                OperandError::expect_floats(weight, 1, cols)?;
                f32(out, rows, cols)
            }
            Self::Rope { table, positions, head_dim } => rope(out, *head_dim, table, positions),
            Self::Attention { .. } => self.check_attention(out),
            Self::CrossEntropy { logits, targets } => {
                let (rows, _) = floats(logits)?;
                expect(targets, U32, rows, 1)?;
                f32(out, rows, 1)
            }
            Self::CrossEntropyGradient { logits, targets, factors } => {
                let (rows, vocab) = floats(logits)?;
                expect(targets, U32, rows, 1)?;
                f32(factors, rows, 1)?;
                f32(out, rows, vocab)
            }
            Self::JsDivergence { a, b } => {
                let (rows, cols) = floats(a)?;
                f32(b, rows, cols)?;
                f32(out, rows, 1)
            }
            Self::CausalSoftmax { .. } => {
                let (rows, cols) = floats(out)?;
                let square = || format!("[rows, at least {rows} columns]");
                let fits = rows <= cols;
                fits.then_some(())
                    .ok_or_else(|| OperandError::Shape { expected: square(), found: (rows, cols) })
            }
            Self::Map { x, .. } => {
                let (rows, cols) = floats(x)?;
                f32(out, rows, cols)
            }
            Self::Zip { a, b, .. } => {
                let (rows, cols) = floats(a)?;
                OperandError::expect_type(b, F32)?;
                Repeat::of(b, (rows, cols))?;
                f32(out, rows, cols)
            }
            Self::Update { b, .. } => {
                let shape = floats(out)?;
                OperandError::expect_type(b, F32)?;
                Repeat::of(b, shape).map(drop)
            }
            Self::Reduce { x, axis, .. } => {
                let (rows, cols) = floats(x)?;
                match axis {
                    Axis::EachRow => f32(out, rows, 1),
                    Axis::EachColumn => f32(out, 1, cols),
                }
            }
            Self::Select { scores, selection } => {
                let (rows, cols) = scores.check()?;
                mask(out, rows, cols)?;
                selection.check(rows, cols)
            }
            Self::SelectCounts { scores, counts } => {
                let (rows, cols) = scores.check()?;
                mask(out, rows, cols)?;
                expect(counts, U32, rows, 1)
            }
            Self::ZeroWhere { mask: words } => {
                let (rows, cols) = floats(out)?;
                mask(words, rows, cols)
            }
            Self::KthSmallest { scores, within, k } => {
                let (rows, cols) = scores.check()?;
                let (results, count) = match within {
                    Within::EachRow => (rows, cols),
                    Within::Whole => (1, rows * cols),
                };
                f32(out, results, 1)?;
                if *k < count { Ok(()) } else { invalid(format!("index {k} of {count} scores")) }
            }
            Self::AtMost { scores, thresholds } => {
                let (rows, cols) = scores.check()?;
                mask(out, rows, cols)?;
                f32(thresholds, if thresholds.rows() == 1 { 1 } else { rows }, 1)
            }
            Self::Gram { x } => {
                let (_, cols) = floats(x)?;
                f32(out, cols, cols)
            }
            Self::Matmul { a, b, to, .. } => {
                for operand in [a, b] {
                    OperandError::expect_type(&operand.tensor, F32)?;
                    operand.check()?;
                }
                OperandError::expect_type(out, F32)?;
                let ((m, k), (inner, n)) = (a.shape(), b.shape());
                if k != inner {
                    return invalid(format!("[{m}, {k}] times [{inner}, {n}]"));
                }
                fits(out, *to, (m, n))
            }
            Self::Transpose { x } => {
                let (rows, cols) = floats(x)?;
                f32(out, cols, rows)
            }
            Self::Reverse {} => floats(out).map(drop),
            Self::Diagonal { x } => f32(out, 1, square(x)?),
            Self::AddDiagonal { d } => f32(d, 1, square(out)?),
            Self::Cholesky {} | Self::TriangularInverse {} => square(out).map(drop),
            Self::SymmetricEigen { x } => {
                let side = square(x)?;
                f32(out, side + 1, side)
            }
            Self::TriangularSolve { l, .. } => f32(out, square(l)?, out.cols()),
        }
    }

    fn check_attention(&self, out: &impl Matrix) -> Result {
        let Self::Attention { q, k, v, shape, spans } = self else { return Ok(()) };
        let (heads, kv_heads, head_dim) = (shape.heads, shape.kv_heads, shape.head_dim);
        if heads == 0 || kv_heads == 0 || head_dim == 0 || !heads.is_multiple_of(kv_heads) {
            return invalid(format!(
                "{heads} heads of {head_dim} cannot share {kv_heads} key and value heads"
            ));
        }
        if shape.window == Some(0) {
            return invalid("a window of 0 keys hides a query's own key");
        }
        let (queries, keys) = (q.rows(), k.rows());
        let columns = |heads: usize| heads.saturating_mul(head_dim);
        f32(q, queries, columns(heads))?;
        f32(k, keys, columns(kv_heads))?;
        f32(v, keys, columns(kv_heads))?;
        f32(out, queries, columns(heads))?;
        check_spans(spans, queries, keys)
    }
}

fn copy_rows(x: &impl Matrix, start: usize, out: &impl Matrix) -> Result {
    if out.dtype() != x.dtype() {
        return invalid(format!(
            "rows of {} are copied to a tensor of {}: both must be of one type",
            x.dtype(),
            out.dtype()
        ));
    }
    OperandError::expect_shape(out, out.rows(), x.cols())?;
    if start > x.rows() || out.rows() > x.rows() - start {
        let end = start.saturating_add(out.rows());
        return invalid(format!("rows {start}..{end} of a tensor of {} rows", x.rows()));
    }
    Ok(())
}

fn rope(x: &impl Matrix, head_dim: usize, table: &impl Matrix, positions: &impl Matrix) -> Result {
    let (rows, cols) = floats(x)?;
    if head_dim == 0 || !head_dim.is_multiple_of(2) || !cols.is_multiple_of(head_dim) {
        return invalid(format!("heads of {head_dim} must be even and divide the {cols} columns"));
    }
    f32(table, table.rows(), head_dim)?;
    expect(positions, U32, rows, 1)
}

fn check_spans(spans: &[Span], queries: usize, keys: usize) -> Result {
    let mut ranges = Vec::with_capacity(spans.len());
    for span in spans {
        let fits = |start: usize, count: usize, rows: usize| start <= rows && count <= rows - start;
        if span.queries > span.keys
            || !fits(span.query_start, span.queries, queries)
            || !fits(span.key_start, span.keys, keys)
        {
            return invalid(format!("{span:?} is not within {queries} queries and {keys} keys"));
        }
        ranges.push((span.query_start, span.queries));
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
        return invalid("two spans share queries");
    }
    Ok(())
}

impl Repeat {
    /// How `b` is repeated for a matrix of this shape.
    ///
    /// # Errors
    /// It is neither of the same shape nor a row, a column or a number.
    pub fn of(b: &impl Matrix, (rows, cols): (usize, usize)) -> Result<Self> {
        let found = (b.rows(), b.cols());
        if found == (rows, cols) {
            Ok(Self::Nowhere)
        } else if found == (1, cols) {
            Ok(Self::Row)
        } else if found == (rows, 1) {
            Ok(Self::Column)
        } else if found == (1, 1) {
            Ok(Self::Number)
        } else {
            let expected = format!("[{rows}, {cols}], [1, {cols}], [{rows}, 1] or [1, 1]");
            Err(OperandError::Shape { expected, found })
        }
    }
}

impl<T: Matrix> Scores<T> {
    /// Rows and columns of scores that fit together.
    fn check(&self) -> Result<(usize, usize)> {
        let (rows, cols) = floats(&self.a)?;
        if let Some((_, row)) = &self.by {
            f32(row, 1, cols)?;
        }
        Ok((rows, cols))
    }
}

impl<T: Matrix> Block<T> {
    fn check(&self) -> Result {
        let (rows, cols) = (self.tensor.rows(), self.tensor.cols());
        let (last_row, last_col) = (self.row.saturating_add(self.rows), self.col.saturating_add(self.cols));
        if last_row > rows || last_col > cols {
            let (row, col) = (self.row, self.col);
            return invalid(format!(
                "rows {row}..{last_row} and columns {col}..{last_col} of a [{rows}, {cols}] tensor"
            ));
        }
        Ok(())
    }
}

impl Selection {
    fn check(self, rows: usize, cols: usize) -> Result {
        let all = rows * cols;
        match self {
            Self::EachRow { count } if count > cols => {
                invalid(format!("{count} of the {cols} scores of a row"))
            }
            Self::Whole { count } if count > all => invalid(format!("{count} of {all} scores")),
            Self::Groups { n, m } if !(1..=32).contains(&m) || n > m || !cols.is_multiple_of(m) => {
                invalid(format!(
                    "{n} of every {m} columns: groups have at most 32 columns and divide the {cols} of a row"
                ))
            }
            Self::RowMass { share } if share.is_nan() => invalid("the share of a row's sum is not a number"),
            _ => Ok(()),
        }
    }
}

fn fits(out: &impl Matrix, to: (usize, usize), size: (usize, usize)) -> Result {
    let ends = (to.0.saturating_add(size.0), to.1.saturating_add(size.1));
    if ends.0 > out.rows() || ends.1 > out.cols() {
        let (rows, cols) = (out.rows(), out.cols());
        return invalid(format!("a {size:?} rectangle at {to:?} of a [{rows}, {cols}] tensor"));
    }
    Ok(())
}
