//! Linear layers on the CPU.

use espalier_shaders::{linear as linear_kernel, rms_norm as rms_norm_kernel};

use super::memory::{f32s, f32s_mut, f32s_over, floats, weights};
use crate::{Compute, DeviceError, Input, LinearLayer, Onto, Result, Tensor};

pub(super) fn linears<'a>(input: Input, compute: Compute, layers: &mut [LinearLayer<'a>]) -> Result<()> {
    let norm = input.norm.map(|norm| {
        Ok::<_, DeviceError>(rms_norm_kernel::Norm { weight: floats(norm.weight)?, eps: norm.eps })
    });
    let (tokens, inputs) = (input.x.rows(), input.x.cols());
    let input = linear_kernel::Input { x: f32s(input.x)?, tokens, inputs, norm: norm.transpose()? };
    let row = |bias: Option<&'a Tensor>| bias.map(floats).transpose();
    let layers = layers.iter_mut().map(|layer| {
        let onto = match layer.onto {
            Onto::Nothing => linear_kernel::Onto::Nothing,
            Onto::Sum => linear_kernel::Onto::Sum,
            Onto::Gate { weight, bias } => {
                linear_kernel::Onto::Gate { w: weights(weight)?, bias: row(bias)? }
            }
        };
        let (w, bias) = (weights(layer.weight)?, row(layer.bias)?);
        let y = match layer.onto {
            Onto::Sum => f32s_mut(layer.y)?,
            Onto::Nothing | Onto::Gate { .. } => f32s_over(layer.y)?,
        };
        Ok(linear_kernel::Layer { w, bias, onto, y })
    });
    linear_kernel::cpu(input, compute, &mut layers.collect::<Result<Vec<_>>>()?);
    Ok(())
}
