//! Operations without a WGSL kernel of their own: operands are read back, computed with by the CPU device,
//! and the result is uploaded. Right on every adapter, at the price of the transfers.

use super::Gpu;
use crate::device::{Device, Operand, Result, Tensor, cpu::Cpu};
use bytes::Bytes;

impl Gpu {
    /// Computes `out` from host copies of `inputs` and of itself.
    pub(super) fn through_host<const N: usize>(
        &self,
        inputs: [&Tensor; N],
        out: &mut Tensor,
        compute: impl FnOnce(&Cpu, [&Tensor; N], &mut Tensor) -> Result<()>,
    ) -> Result<()> {
        let cpu = Cpu::new();
        let down = |x: &Tensor| cpu.upload(x.dtype(), x.rows(), x.cols(), Bytes::from(self.read(x)?));
        let mut copies = Vec::with_capacity(N);
        for input in inputs {
            copies.push(down(input)?);
        }
        let mut result = down(out)?;
        compute(&cpu, std::array::from_fn(|at| &copies[at]), &mut result)?;
        *out = self.upload(out.dtype(), out.rows(), out.cols(), Bytes::from(cpu.read(&result)?))?;
        Ok(())
    }
}

/// The same rectangle of a copy.
pub(super) fn of<'a>(operand: &Operand, copy: &'a Tensor) -> Operand<'a> {
    Operand {
        tensor: copy,
        rows: operand.rows.clone(),
        cols: operand.cols.clone(),
        transposed: operand.transposed,
    }
}
