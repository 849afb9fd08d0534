//! The forward pass on the CPU.

use espalier_shaders::{
    attention as kernel, convert as convert_kernel, cross_entropy as cross_entropy_kernel,
    js_divergence as js_divergence_kernel, linear as linear_kernel, rms_norm as rms_norm_kernel,
    rope as rope_kernel, scatter_rows as scatter_rows_kernel,
};

use super::memory::{f32s, f32s_mut, floats, floats_mut, u32s};
use crate::device::{
    AttentionShape, Compute, DeviceError, Input, LinearLayer, Onto, Result, Span, Tensor, check,
};

pub(super) fn convert(x: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "convert";
    check::convert(x, out)?;
    convert_kernel::cpu(floats(NAME, x)?, floats_mut(NAME, out)?);
    Ok(())
}

pub(super) fn scatter_rows(x: &Tensor, places: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "scatter_rows";
    check::scatter_rows(x, places, out)?;
    let places = u32s(NAME, places)?;
    expect_below(NAME, "row", places, out.rows())?;
    scatter_rows_kernel::cpu(f32s(NAME, x)?, x.cols(), places, f32s_mut(NAME, out)?);
    Ok(())
}

pub(super) fn linears<'a>(input: Input, compute: Compute, layers: &mut [LinearLayer<'a>]) -> Result<()> {
    const NAME: &str = "linear";
    check::linears(&input, layers)?;
    let norm = input.norm.map(|norm| {
        Ok::<_, DeviceError>(rms_norm_kernel::Norm { weight: floats(NAME, norm.weight)?, eps: norm.eps })
    });
    let (tokens, inputs) = (input.x.rows(), input.x.cols());
    let input = linear_kernel::Input { x: f32s(NAME, input.x)?, tokens, inputs, norm: norm.transpose()? };
    let row = |bias: Option<&'a Tensor>| bias.map(|bias| floats(NAME, bias)).transpose();
    let layers = layers.iter_mut().map(|layer| {
        let onto = match layer.onto {
            Onto::Nothing => linear_kernel::Onto::Nothing,
            Onto::Sum => linear_kernel::Onto::Sum,
            Onto::Gate { weight, bias } => {
                linear_kernel::Onto::Gate { w: floats(NAME, weight)?, bias: row(bias)? }
            }
        };
        let (w, bias) = (floats(NAME, layer.weight)?, row(layer.bias)?);
        Ok(linear_kernel::Layer { w, bias, onto, y: f32s_mut(NAME, layer.y)? })
    });
    linear_kernel::cpu(input, compute, &mut layers.collect::<Result<Vec<_>>>()?);
    Ok(())
}

pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32, y: &mut Tensor) -> Result<()> {
    const NAME: &str = "rms_norm";
    check::rms_norm(x, weight, y)?;
    rms_norm_kernel::cpu(f32s(NAME, x)?, floats(NAME, weight)?, eps, x.cols(), f32s_mut(NAME, y)?);
    Ok(())
}

pub(super) fn rope(x: &mut Tensor, head_dim: usize, table: &Tensor, positions: &Tensor) -> Result<()> {
    const NAME: &str = "rope";
    check::rope(x, head_dim, table, positions)?;
    let positions = u32s(NAME, positions)?;
    expect_below(NAME, "position", positions, table.rows())?;
    let cols = x.cols();
    rope_kernel::cpu(f32s_mut(NAME, x)?, cols, head_dim, f32s(NAME, table)?, positions);
    Ok(())
}

pub(super) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    spans: &[Span],
    out: &mut Tensor,
) -> Result<()> {
    const NAME: &str = "attention";
    check::attention(q, k, v, shape, spans, out)?;
    let AttentionShape { heads, kv_heads, head_dim, scale, window } = *shape;
    let shape = kernel::Shape { heads, kv_heads, head_dim, scale, window };
    let spans: Vec<_> = spans
        .iter()
        .map(|&Span { query_start, queries, key_start, keys }| kernel::Span {
            query_start,
            queries,
            key_start,
            keys,
        })
        .collect();
    kernel::cpu(f32s(NAME, q)?, f32s(NAME, k)?, f32s(NAME, v)?, &shape, &spans, f32s_mut(NAME, out)?);
    Ok(())
}

pub(super) fn cross_entropy(logits: &Tensor, targets: &Tensor, loss: &mut Tensor) -> Result<()> {
    const NAME: &str = "cross_entropy";
    check::cross_entropy(logits, targets, loss)?;
    let targets = u32s(NAME, targets)?;
    expect_below(NAME, "target", targets, logits.cols())?;
    cross_entropy_kernel::cpu(f32s(NAME, logits)?, logits.cols(), targets, f32s_mut(NAME, loss)?);
    Ok(())
}

pub(super) fn js_divergence(a: &Tensor, b: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "js_divergence";
    check::js_divergence(a, b, out)?;
    js_divergence_kernel::cpu(f32s(NAME, a)?, f32s(NAME, b)?, a.cols(), f32s_mut(NAME, out)?);
    Ok(())
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
