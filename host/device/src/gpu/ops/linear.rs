//! Products with weights.

use super::rows::rms_norm;
use crate::{
    Compute, DType, Input, LinearLayer, Onto, Result, Tensor,
    gpu::{
        Context, PackedPanels, memory, packed,
        products::{Class, linear},
        tune::Tuner,
    },
};
use espalier_shaders::linear::Mode;

/// As [`Device::linears`](crate::Device::linears).
///
/// Normalised rows are written once for all layers. A kernel that normalised what it stages would do so again for every
/// tile of outputs: with tiles of 128 outputs two multiplications beside every 128 of the product's, for thousands of
/// inputs, to save one write of each element.
pub(in crate::gpu) fn linears(
    context: &Context,
    tuner: &Tuner,
    input: Input,
    compute: Compute,
    layers: &mut [LinearLayer],
) -> Result<()> {
    let (tokens, ins) = (input.x.rows(), input.x.cols());
    let mut normed = None;
    if let Some(norm) = input.norm {
        let normed = normed.insert(memory::uninitialised(context, DType::F32, tokens, ins)?);
        rms_norm(context, input.x, norm.weight, norm.eps, normed)?;
    }
    let x = normed.as_ref().unwrap_or(input.x);
    for LinearLayer { weight, bias, onto, y } in layers {
        if y.elements() == 0 {
            continue;
        }
        let mut product = |weight: &Tensor, bias: Option<&Tensor>, mode: Mode| {
            let class = Class::linear(weight.dtype(), compute, tokens, ins, weight.rows());
            let expanded;
            let (variant, weight) = match weight.storage::<PackedPanels>() {
                Err(_) => (tuner.variant(context, class), weight),
                Ok(packed) => match tuner.packed(context, class) {
                    Some(variant) => (variant, weight),
                    // For many tokens, zeros are put in once.
                    None => {
                        expanded = packed::expand(context, packed)?;
                        (tuner.variant(context, class), &expanded)
                    }
                },
            };
            linear::run(context, &variant, x, weight, bias, mode, compute, y)
        };
        match *onto {
            Onto::Nothing => product(weight, *bias, Mode::Write)?,
            Onto::Sum => product(weight, *bias, Mode::Add)?,
            Onto::Gate { weight: gate, bias: gate_bias } => {
                product(gate, gate_bias, Mode::Write)?;
                product(weight, *bias, Mode::Gate)?;
            }
        }
    }
    Ok(())
}
