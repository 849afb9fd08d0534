//! Linear algebra, ranks and plugins' own kernels on the CPU.

use espalier_sdk::Buffer;
use espalier_shaders::{self as kernels, matmul::Rectangle};

use super::{
    memory::{f32s, f32s_mut, memory, memory_mut, u32s_mut},
    pruning::ranked,
};
use crate::device::{Binding, DeviceError, KernelCall, Operand, Result, Scores, Tensor, Within, check};

pub(super) fn kth_smallest(scores: Scores, within: Within, k: usize, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "kth_smallest";
    check::kth_smallest(&scores, within, k, out)?;
    let (scores, out) = (ranked(NAME, scores)?, f32s_mut(NAME, out)?);
    match within {
        Within::EachRow => kernels::kth_in_rows::cpu(scores, k, out),
        Within::Whole => out[0] = kernels::kth_smallest::cpu(scores, k),
    }
    Ok(())
}

pub(super) fn at_most(scores: Scores, thresholds: &Tensor, mask: &mut Tensor) -> Result<()> {
    const NAME: &str = "at_most";
    check::at_most(&scores, thresholds, mask)?;
    kernels::at_most::cpu(ranked(NAME, scores)?, f32s(NAME, thresholds)?, u32s_mut(NAME, mask)?);
    Ok(())
}

pub(super) fn gram(x: &Tensor, gram: &mut Tensor) -> Result<()> {
    const NAME: &str = "gram";
    check::gram(x, gram)?;
    kernels::gram::cpu(f32s(NAME, x)?, x.cols(), f32s_mut(NAME, gram)?);
    Ok(())
}

pub(super) fn matmul(
    alpha: f32,
    a: &Operand,
    b: &Operand,
    beta: f32,
    c: &mut Tensor,
    to: (usize, usize),
) -> Result<()> {
    const NAME: &str = "matmul";
    check::matmul(a, b, c, to)?;
    let stride = c.cols();
    let (a, b) = (rectangle(NAME, a)?, rectangle(NAME, b)?);
    kernels::matmul::cpu(alpha, a, b, beta, f32s_mut(NAME, c)?, stride, to);
    Ok(())
}

fn rectangle<'a>(operation: &'static str, operand: &Operand<'a>) -> Result<Rectangle<'a>> {
    Ok(Rectangle {
        matrix: f32s(operation, operand.tensor)?,
        stride: operand.tensor.cols(),
        from: (operand.rows.start, operand.cols.start),
        size: (operand.rows.len(), operand.cols.len()),
        transposed: operand.transposed,
    })
}

pub(super) fn copy(from: &Operand, out: &mut Tensor, to: (usize, usize)) -> Result<()> {
    const NAME: &str = "copy";
    check::copy(from, out, to)?;
    let size = out.dtype().size();
    let (stride, out_stride) = (from.tensor.cols() * size, out.cols() * size);
    kernels::copy_block::cpu(
        memory(NAME, from.tensor)?.as_bytes(),
        stride,
        (from.rows.start, from.cols.start * size),
        (from.rows.len(), from.cols.len() * size),
        memory_mut(NAME, out)?.as_bytes_mut()?,
        out_stride,
        (to.0, to.1 * size),
    );
    Ok(())
}

pub(super) fn transpose(x: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "transpose";
    check::transpose(x, out)?;
    kernels::transpose::cpu(f32s(NAME, x)?, x.cols(), f32s_mut(NAME, out)?);
    Ok(())
}

pub(super) fn reverse(x: &mut Tensor) -> Result<()> {
    kernels::reverse::cpu(f32s_mut("reverse", x)?);
    Ok(())
}

pub(super) fn diagonal(x: &Tensor, out: &mut Tensor) -> Result<()> {
    const NAME: &str = "diagonal";
    check::diagonal(NAME, x, out)?;
    kernels::diagonal::take(f32s(NAME, x)?, f32s_mut(NAME, out)?);
    Ok(())
}

pub(super) fn add_diagonal(d: &Tensor, x: &mut Tensor) -> Result<()> {
    const NAME: &str = "add_diagonal";
    check::diagonal(NAME, x, d)?;
    kernels::diagonal::add(f32s(NAME, d)?, f32s_mut(NAME, x)?);
    Ok(())
}

pub(super) fn cholesky(x: &mut Tensor) -> Result<()> {
    const NAME: &str = "cholesky";
    check::square(NAME, x)?;
    let side = x.cols();
    kernels::cholesky::cpu(f32s_mut(NAME, x)?, side)
        .map_err(|error| DeviceError::NotPositiveDefinite { pivot: error.pivot, value: error.value })
}

pub(super) fn triangular_inverse(l: &mut Tensor) -> Result<()> {
    const NAME: &str = "triangular_inverse";
    check::square(NAME, l)?;
    let side = l.cols();
    kernels::triangular_inverse::cpu(f32s_mut(NAME, l)?, side);
    Ok(())
}

pub(super) fn triangular_solve(l: &Tensor, transposed: bool, b: &mut Tensor) -> Result<()> {
    const NAME: &str = "triangular_solve";
    check::triangular_solve(l, b)?;
    let cols = b.cols();
    kernels::triangular_solve::cpu(f32s(NAME, l)?, l.cols(), transposed, f32s_mut(NAME, b)?, cols);
    Ok(())
}

pub(super) fn run(kernel: &KernelCall, bindings: &mut [Binding], params: &[u8]) -> Result<()> {
    const NAME: &str = "run";
    let Some(twin) = kernel.cpu else {
        return Err(DeviceError::Unsupported(format!(
            "the kernel {} has no CPU twin, so it runs on a GPU only: choose one with --device gpu",
            kernel.name
        )));
    };
    let mut buffers = Vec::with_capacity(bindings.len());
    for binding in bindings {
        check::bound(kernel.name, binding)?;
        buffers.push(match binding {
            Binding::Read(x) => Buffer::Read(words(kernel.name, memory(NAME, x)?.as_bytes())?),
            Binding::Write(x) => Buffer::Write(
                bytemuck::try_cast_slice_mut(memory_mut(NAME, x)?.as_bytes_mut()?).map_err(|_| {
                    DeviceError::Unsupported(format!(
                        "a binding of the kernel {} is not aligned",
                        kernel.name
                    ))
                })?,
            ),
        });
    }
    twin(&mut buffers, params).map_err(|error| DeviceError::Failed {
        operation: kernel.name.to_owned(),
        message: error.to_string(),
    })
}

fn words<'a>(kernel: &str, bytes: &'a [u8]) -> Result<&'a [u32]> {
    bytemuck::try_cast_slice(bytes)
        .map_err(|_| DeviceError::Unsupported(format!("a binding of the kernel {kernel} is not aligned")))
}
