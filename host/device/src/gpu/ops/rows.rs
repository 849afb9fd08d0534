//! Operations on whole rows of activations.

use crate::{
    Result, Tensor,
    gpu::{
        Context, Dispatch, panels, segments,
        sizes::{dtype_constant, size},
    },
};
use espalier_shaders::{
    causal_softmax, cross_entropy, cross_entropy_gradient, js_divergence, rms_norm, scatter_rows,
};

/// [`Op::RmsNorm`](crate::Op::RmsNorm).
pub fn rms_norm(context: &Context, x: &Tensor, weight: &Tensor, eps: f32, y: &mut Tensor) -> Result<()> {
    const NAME: &str = "rms_norm";
    if x.elements() == 0 {
        return Ok(());
    }
    let weight_binding = panels(weight)?.only(NAME)?;
    for segment in segments(x.rows(), [(panels(x)?, 0), (panels(y)?, 0)]) {
        let [x_part, y_part] = &segment.parts;
        let params = rms_norm::Params {
            rows: size(NAME, segment.rows.len())?,
            cols: size(NAME, x.cols())?,
            x_row: size(NAME, x_part.row)?,
            y_row: size(NAME, y_part.row)?,
            eps,
        };
        context.dispatch(&Dispatch {
            kernel: &rms_norm::KERNEL,
            constants: &[("WEIGHT_DTYPE", dtype_constant(weight.dtype()))],
            bindings: &[x_part.binding.clone(), weight_binding.clone(), y_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// [`Op::CausalSoftmax`](crate::Op::CausalSoftmax).
pub fn causal_softmax(context: &Context, scale: f32, window: Option<usize>, x: &mut Tensor) -> Result<()> {
    const NAME: &str = "causal_softmax";
    if x.elements() == 0 {
        return Ok(());
    }
    let (rows, cols) = (x.rows(), x.cols());
    for segment in segments(rows, [(panels(x)?, 0)]) {
        let [part] = &segment.parts;
        let params = causal_softmax::Params {
            rows: size(NAME, segment.rows.len())?,
            first: size(NAME, segment.rows.start)?,
            x_row: size(NAME, part.row)?,
            cols: size(NAME, cols)?,
            ahead: size(NAME, cols - rows)?,
            window: size(NAME, window.unwrap_or(cols).min(cols))?,
            scale,
        };
        context.dispatch(&Dispatch {
            kernel: &causal_softmax::KERNEL,
            constants: &[],
            bindings: std::slice::from_ref(&part.binding),
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// [`Op::CrossEntropy`](crate::Op::CrossEntropy).
pub fn cross_entropy(context: &Context, logits: &Tensor, targets: &Tensor, loss: &mut Tensor) -> Result<()> {
    const NAME: &str = "cross_entropy";
    if logits.elements() == 0 {
        return Ok(());
    }
    let operands = [(panels(logits)?, 0), (panels(targets)?, 0), (panels(loss)?, 0)];
    for segment in segments(logits.rows(), operands) {
        let [logits_part, targets_part, loss_part] = &segment.parts;
        let params = cross_entropy::Params {
            rows: size(NAME, segment.rows.len())?,
            vocab: size(NAME, logits.cols())?,
            logits_row: size(NAME, logits_part.row)?,
            targets_row: size(NAME, targets_part.row)?,
            loss_row: size(NAME, loss_part.row)?,
            nan: f32::NAN.to_bits(),
        };
        context.dispatch(&Dispatch {
            kernel: &cross_entropy::KERNEL,
            constants: &[],
            bindings: &[logits_part.binding.clone(), targets_part.binding.clone(), loss_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// [`Op::CrossEntropyGradient`](crate::Op::CrossEntropyGradient).
pub fn cross_entropy_gradient(
    context: &Context,
    logits: &Tensor,
    targets: &Tensor,
    factors: &Tensor,
    out: &mut Tensor,
) -> Result<()> {
    const NAME: &str = "cross_entropy_gradient";
    if logits.elements() == 0 {
        return Ok(());
    }
    let operands = [(panels(logits)?, 0), (panels(targets)?, 0), (panels(factors)?, 0), (panels(out)?, 0)];
    for segment in segments(logits.rows(), operands) {
        let [logits_part, targets_part, factors_part, out_part] = &segment.parts;
        let params = cross_entropy_gradient::Params {
            rows: size(NAME, segment.rows.len())?,
            vocab: size(NAME, logits.cols())?,
            logits_row: size(NAME, logits_part.row)?,
            targets_row: size(NAME, targets_part.row)?,
            factors_row: size(NAME, factors_part.row)?,
            out_row: size(NAME, out_part.row)?,
        };
        context.dispatch(&Dispatch {
            kernel: &cross_entropy_gradient::KERNEL,
            constants: &[],
            bindings: &[
                logits_part.binding.clone(),
                targets_part.binding.clone(),
                factors_part.binding.clone(),
                out_part.binding.clone(),
            ],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// [`Op::JsDivergence`](crate::Op::JsDivergence).
pub fn js_divergence(context: &Context, a: &Tensor, b: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "js_divergence";
    if a.elements() == 0 {
        return Ok(());
    }
    let operands = [(panels(a)?, 0), (panels(b)?, 0), (panels(out)?, 0)];
    for segment in segments(a.rows(), operands) {
        let [a_part, b_part, out_part] = &segment.parts;
        let params = js_divergence::Params {
            rows: size(NAME, segment.rows.len())?,
            vocab: size(NAME, a.cols())?,
            a_row: size(NAME, a_part.row)?,
            b_row: size(NAME, b_part.row)?,
            out_row: size(NAME, out_part.row)?,
            nan: f32::NAN.to_bits(),
        };
        context.dispatch(&Dispatch {
            kernel: &js_divergence::KERNEL,
            constants: &[],
            bindings: &[a_part.binding.clone(), b_part.binding.clone(), out_part.binding.clone()],
            params: bytemuck::bytes_of(&params),
            workgroups: segment.rows.len() as u64,
        })?;
    }
    Ok(())
}

/// [`Op::ScatterRows`](crate::Op::ScatterRows). A place that there is not is passed over.
pub fn scatter_rows(context: &Context, x: &Tensor, places: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "scatter_rows";
    if x.elements() == 0 {
        return Ok(());
    }
    let out_panels = panels(out)?;
    for segment in segments(x.rows(), [(panels(x)?, 0), (panels(places)?, 0)]) {
        let [x_part, places_part] = &segment.parts;
        // A row is carried by the run that has its place bound.
        for panel in 0..out_panels.count() {
            let out_rows = out_panels.panel_rows(panel);
            let params = scatter_rows::Params {
                rows: size(NAME, segment.rows.len())?,
                cols: size(NAME, x.cols())?,
                x_row: size(NAME, x_part.row)?,
                places_row: size(NAME, places_part.row)?,
                out_start: size(NAME, out_rows.start)?,
                out_rows: size(NAME, out_rows.len())?,
            };
            context.dispatch(&Dispatch {
                kernel: &scatter_rows::KERNEL,
                constants: &[],
                bindings: &[x_part.binding.clone(), places_part.binding.clone(), out_panels.binding(panel)],
                params: bytemuck::bytes_of(&params),
                workgroups: (segment.rows.len() * x.cols()).div_ceil(scatter_rows::PER_WORKGROUP) as u64,
            })?;
        }
    }
    Ok(())
}
