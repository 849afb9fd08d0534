//! Scores, as kernels that rank them are given.

use crate::{
    Result, Scores,
    gpu::{Panels, panels},
};

/// The matrix of scores and what is computed of it.
pub(super) struct Ranked<'a> {
    /// Which functions kernels compute.
    pub constants: [(&'static str, f64); 3],
    /// The matrix.
    pub a: &'a Panels,
    /// The row of numbers, or any tensor if there is no row.
    pub by: wgpu::BufferBinding<'a>,
}

impl<'a> Ranked<'a> {
    /// Scores that fit and are not empty.
    ///
    /// # Errors
    /// A tensor is in host memory, or a row is not in one panel.
    pub(super) fn new(operation: &'static str, scores: &Scores<'a>) -> Result<Self> {
        let a = panels(scores.a)?;
        let by = match scores.by {
            None => a.binding(0),
            Some((_, by)) => panels(by)?.only(operation)?,
        };
        let op = scores.by.map_or(0, |(op, _)| op as u32);
        let constants = [
            ("F", f64::from(scores.f as u32)),
            ("OP", f64::from(op)),
            ("BY", f64::from(u8::from(scores.by.is_some()))),
        ];
        Ok(Self { constants, a, by })
    }

    /// The functions' constants and one of the kernel's own.
    pub(super) fn constants_and(&self, name: &'static str, value: f64) -> [(&'static str, f64); 4] {
        let [f, op, by] = self.constants;
        [f, op, by, (name, value)]
    }
}
