//! What operations ask of their operands, the same on every device.

mod algebra;

pub use algebra::{
    at_most, bound, copy, diagonal, gram, kth_smallest, matmul, same_shape, square, transpose,
    triangular_solve,
};

use super::{
    AttentionShape, Axis, DType, DeviceError, Input, LinearLayer, Onto, Result, Scores, Selection, Span,
    Tensor,
};

pub use espalier_shaders::Repeat;

/// Any floating-point type.
pub const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

fn invalid(operation: &'static str, message: impl Into<String>) -> DeviceError {
    DeviceError::Invalid { operation, message: message.into() }
}

fn all_f32<const N: usize>(operation: &'static str, operands: [&Tensor; N]) -> Result<()> {
    operands.into_iter().try_for_each(|x| x.expect_dtype(operation, &[DType::F32]))
}

/// The bytes that a tensor takes.
///
/// # Errors
/// There are none so many, or `bytes` (where given) is another number.
pub fn tensor_bytes(
    operation: &'static str,
    dtype: DType,
    rows: usize,
    cols: usize,
    bytes: Option<usize>,
) -> Result<usize> {
    let needed = rows.checked_mul(cols).and_then(|elements| elements.checked_mul(dtype.size()));
    let needed = needed.ok_or_else(|| {
        invalid(operation, format!("a {dtype} tensor [{rows}, {cols}] is beyond all memory"))
    })?;
    match bytes {
        Some(bytes) if bytes != needed => Err(invalid(
            operation,
            format!("a {dtype} tensor [{rows}, {cols}] has {needed} bytes, but there are {bytes}"),
        )),
        _ => Ok(needed),
    }
}

/// Checks the operands of [`convert`](super::Device::convert).
///
/// # Errors
/// What does not fit; so for every function below.
pub fn convert(x: &Tensor, out: &Tensor) -> Result<()> {
    const NAME: &str = "convert";
    x.expect_dtype(NAME, &FLOATS)?;
    out.expect_dtype(NAME, &FLOATS)?;
    out.expect_shape(NAME, x.rows(), x.cols())
}

/// Checks the operands of [`copy_rows`](super::Device::copy_rows).
pub fn copy_rows(x: &Tensor, start: usize, out: &Tensor) -> Result<()> {
    const NAME: &str = "copy_rows";
    out.expect_dtype(NAME, &[x.dtype()])?;
    out.expect_shape(NAME, out.rows(), x.cols())?;
    if start > x.rows() || out.rows() > x.rows() - start {
        let end = start.saturating_add(out.rows());
        return Err(invalid(
            NAME,
            format!("rows {start}..{end} are wanted of a tensor of {} rows", x.rows()),
        ));
    }
    Ok(())
}

/// Checks the operands of [`scatter_rows`](super::Device::scatter_rows); not the places themselves.
pub fn scatter_rows(x: &Tensor, places: &Tensor, out: &Tensor) -> Result<()> {
    const NAME: &str = "scatter_rows";
    all_f32(NAME, [x, out])?;
    out.expect_shape(NAME, out.rows(), x.cols())?;
    places.expect_dtype(NAME, &[DType::U32])?;
    places.expect_shape(NAME, x.rows(), 1)
}

/// Checks the operands of [`linears`](super::Device::linears).
pub fn linears(input: &Input, layers: &[LinearLayer]) -> Result<()> {
    const NAME: &str = "linear";
    let x = input.x;
    all_f32(NAME, [x])?;
    if x.cols() == 0 {
        return Err(invalid(NAME, "the layer has no inputs"));
    }
    if let Some(norm) = input.norm {
        row(NAME, norm.weight, x.cols())?;
    }
    let fits = |weight: &Tensor, bias: Option<&Tensor>, y: &Tensor| {
        weight.expect_dtype(NAME, &FLOATS)?;
        weight.expect_shape(NAME, weight.rows(), x.cols())?;
        y.expect_shape(NAME, x.rows(), weight.rows())?;
        bias.map_or(Ok(()), |bias| row(NAME, bias, weight.rows()))
    };
    layers.iter().try_for_each(|LinearLayer { weight, bias, onto, y }| {
        all_f32(NAME, [y])?;
        fits(weight, *bias, y)?;
        match onto {
            Onto::Gate { weight, bias } => fits(weight, *bias, y),
            Onto::Nothing | Onto::Sum => Ok(()),
        }
    })
}

/// A row in any floating-point type.
fn row(operation: &'static str, row: &Tensor, cols: usize) -> Result<()> {
    row.expect_dtype(operation, &FLOATS)?;
    row.expect_shape(operation, 1, cols)
}

/// Checks the operands of [`rms_norm`](super::Device::rms_norm).
pub fn rms_norm(x: &Tensor, weight: &Tensor, y: &Tensor) -> Result<()> {
    const NAME: &str = "rms_norm";
    all_f32(NAME, [x, y])?;
    row(NAME, weight, x.cols())?;
    y.expect_shape(NAME, x.rows(), x.cols())
}

/// Checks the operands of [`rope`](super::Device::rope).
pub fn rope(x: &Tensor, head_dim: usize, table: &Tensor, positions: &Tensor) -> Result<()> {
    const NAME: &str = "rope";
    all_f32(NAME, [x, table])?;
    positions.expect_dtype(NAME, &[DType::U32])?;
    if head_dim == 0 || !head_dim.is_multiple_of(2) || !x.cols().is_multiple_of(head_dim) {
        return Err(invalid(
            NAME,
            format!("heads of {head_dim} must be even and divide the {} columns", x.cols()),
        ));
    }
    table.expect_shape(NAME, table.rows(), head_dim)?;
    positions.expect_shape(NAME, x.rows(), 1)
}

/// Checks the operands of [`attention`](super::Device::attention).
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    spans: &[Span],
    out: &Tensor,
) -> Result<()> {
    const NAME: &str = "attention";
    all_f32(NAME, [q, k, v, out])?;
    let AttentionShape { heads, kv_heads, head_dim, window, .. } = *shape;
    if heads == 0 || kv_heads == 0 || head_dim == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(invalid(
            NAME,
            format!("{heads} heads of {head_dim} cannot share {kv_heads} key and value heads"),
        ));
    }
    if window == Some(0) {
        return Err(invalid(NAME, "a window of no keys shows a query nothing, not even itself"));
    }
    q.expect_shape(NAME, q.rows(), heads * head_dim)?;
    k.expect_shape(NAME, k.rows(), kv_heads * head_dim)?;
    v.expect_shape(NAME, k.rows(), kv_heads * head_dim)?;
    out.expect_shape(NAME, q.rows(), heads * head_dim)?;
    let mut starts = Vec::with_capacity(spans.len());
    for span in spans {
        let fits = |start: usize, count: usize, rows: usize| start <= rows && count <= rows - start;
        if span.queries > span.keys
            || !fits(span.query_start, span.queries, q.rows())
            || !fits(span.key_start, span.keys, k.rows())
        {
            return Err(invalid(
                NAME,
                format!("{span:?} is not within {} queries and {} keys", q.rows(), k.rows()),
            ));
        }
        starts.push((span.query_start, span.queries));
    }
    starts.sort_unstable();
    if starts.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
        return Err(invalid(NAME, "two spans share queries"));
    }
    Ok(())
}

/// Checks the operands of [`cross_entropy`](super::Device::cross_entropy).
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, loss: &Tensor) -> Result<()> {
    const NAME: &str = "cross_entropy";
    all_f32(NAME, [logits, loss])?;
    targets.expect_dtype(NAME, &[DType::U32])?;
    targets.expect_shape(NAME, logits.rows(), 1)?;
    loss.expect_shape(NAME, logits.rows(), 1)
}

/// Checks the operands of [`js_divergence`](super::Device::js_divergence).
pub fn js_divergence(a: &Tensor, b: &Tensor, out: &Tensor) -> Result<()> {
    const NAME: &str = "js_divergence";
    all_f32(NAME, [a, b, out])?;
    b.expect_shape(NAME, a.rows(), a.cols())?;
    out.expect_shape(NAME, a.rows(), 1)
}

/// Checks the operands of [`map`](super::Device::map).
pub fn map(x: &Tensor, out: &Tensor) -> Result<()> {
    const NAME: &str = "map";
    all_f32(NAME, [x, out])?;
    out.expect_shape(NAME, x.rows(), x.cols())
}

/// Checks the operands of [`zip`](super::Device::zip), and says how `b` is repeated.
pub fn zip(a: &Tensor, b: &Tensor, out: &Tensor) -> Result<Repeat> {
    const NAME: &str = "zip";
    all_f32(NAME, [a, b, out])?;
    let (rows, cols) = (a.rows(), a.cols());
    out.expect_shape(NAME, rows, cols)?;
    let shape = (b.rows(), b.cols());
    if shape == (rows, cols) {
        Ok(Repeat::Nowhere)
    } else if shape == (1, cols) {
        Ok(Repeat::Row)
    } else if shape == (rows, 1) {
        Ok(Repeat::Column)
    } else if shape == (1, 1) {
        Ok(Repeat::Number)
    } else {
        Err(DeviceError::Shape {
            operation: NAME,
            expected: format!("[{rows}, {cols}], [1, {cols}], [{rows}, 1] or [1, 1]"),
            found: format!("[{}, {}]", shape.0, shape.1),
        })
    }
}

/// Checks the operands of [`reduce`](super::Device::reduce).
pub fn reduce(axis: Axis, x: &Tensor, out: &Tensor) -> Result<()> {
    const NAME: &str = "reduce";
    all_f32(NAME, [x, out])?;
    match axis {
        Axis::EachRow => out.expect_shape(NAME, x.rows(), 1),
        Axis::EachColumn => out.expect_shape(NAME, 1, x.cols()),
    }
}

/// Checks the operands of [`select`](super::Device::select).
pub fn select(scores: &Scores, selection: Selection, mask: &Tensor) -> Result<()> {
    const NAME: &str = "select";
    algebra::masked(NAME, scores, mask)?;
    let (cols, all) = (scores.a.cols(), scores.a.elements());
    match selection {
        Selection::EachRow { count } if count > cols => {
            Err(invalid(NAME, format!("{count} of the {cols} scores of a row")))
        }
        Selection::Whole { count } if count > all => Err(invalid(NAME, format!("{count} of {all} scores"))),
        Selection::Groups { n, m } if !(1..=32).contains(&m) || n > m || !cols.is_multiple_of(m) => {
            Err(invalid(
                NAME,
                format!(
                    "{n} of every {m} columns: groups have at most 32 columns and divide the {cols} of a row"
                ),
            ))
        }
        Selection::RowMass { share } if share.is_nan() => {
            Err(invalid(NAME, "the share of a row's sum is not a number"))
        }
        _ => Ok(()),
    }
}

/// Checks the operands of [`zero_where`](super::Device::zero_where).
pub fn zero_where(mask: &Tensor, x: &Tensor) -> Result<()> {
    const NAME: &str = "zero_where";
    x.expect_dtype(NAME, &[DType::F32])?;
    mask.expect_dtype(NAME, &[DType::U32])?;
    mask.expect_shape(NAME, x.rows(), x.cols().div_ceil(32))
}
