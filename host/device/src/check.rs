//! The checks that are not an [`Op`](super::Op)'s own: of sizes, of linear layers and of plugins' kernels.

use super::{Binding, DType, DeviceError, Input, LinearLayer, Onto, Result, Tensor};
use espalier_ops::OperandError;

fn invalid(operation: &'static str, message: impl Into<String>) -> DeviceError {
    DeviceError::Invalid { operation, message: message.into() }
}

/// The bytes that a tensor takes.
///
/// # Errors
/// The size overflows, or `bytes`, where given, is another number.
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

/// Checks the operands of [`linears`](super::Device::linears).
///
/// # Errors
/// The first operand that does not fit.
pub fn linears(input: &Input, layers: &[LinearLayer]) -> Result<()> {
    const NAME: &str = "linear";
    if input.x.cols() == 0 {
        return Err(invalid(NAME, "the layer has no inputs"));
    }
    fit(input, layers).map_err(DeviceError::operand(NAME))
}

fn fit(input: &Input, layers: &[LinearLayer]) -> Result<(), OperandError> {
    let x = input.x;
    let (tokens, ins) = (x.rows(), x.cols());
    OperandError::expect_type(x, &[DType::F32])?;
    if let Some(norm) = input.norm {
        OperandError::expect_floats(norm.weight, 1, ins)?;
    }
    let fits = |weight: &Tensor, bias: Option<&Tensor>, y: &Tensor| {
        OperandError::expect_floats(weight, weight.rows(), ins)?;
        OperandError::expect_shape(y, tokens, weight.rows())?;
        bias.map_or(Ok(()), |bias| OperandError::expect_floats(bias, 1, weight.rows()))
    };
    layers.iter().try_for_each(|LinearLayer { weight, bias, onto, y }| {
        OperandError::expect_type(&**y, &[DType::F32])?;
        fits(weight, *bias, y)?;
        match onto {
            Onto::Gate { weight, bias } => fits(weight, *bias, y),
            Onto::Nothing | Onto::Sum => Ok(()),
        }
    })
}

/// Checks a tensor that is bound to a plugin's kernel.
///
/// # Errors
/// Its type is neither f32 nor u32.
pub fn bound(kernel: &str, binding: &Binding) -> Result<()> {
    let tensor = match binding {
        Binding::Read(tensor) => *tensor,
        Binding::Write(tensor) => tensor,
    };
    match tensor.dtype() {
        DType::F32 | DType::U32 => Ok(()),
        dtype => Err(invalid(
            "run",
            format!("the kernel {kernel} is given a tensor of {dtype}; it takes f32 or u32"),
        )),
    }
}
