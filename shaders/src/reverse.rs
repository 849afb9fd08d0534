//! `out = J x J`: the order of rows and of columns reversed.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Access, Kernel};

/// Bindings: x, out words. A workgroup for every [`PER_WORKGROUP`] elements.
pub const KERNEL: Kernel = Kernel {
    name: "reverse",
    wgsl: include_str!("reverse.wgsl"),
    bindings: &[Access::Read, Access::Write],
    params: size_of::<Params>() as u32,
};

/// Elements that a workgroup computes.
pub const PER_WORKGROUP: usize = 2048;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to compute.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// The row of x in its panel that goes to the first row of out; the next ones are above it.
    pub x_row: u32,
    /// The first row of out in its panel.
    pub out_row: u32,
}

/// Reverses the order of rows and of columns.
///
/// # Panics
/// The slices are not of the same size.
pub fn cpu(x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "out has x's shape");
    const PIECE: usize = 1 << 14;
    out.par_chunks_mut(PIECE).zip(x.par_rchunks(PIECE)).for_each(|(out, x)| {
        for (out, x) in out.iter_mut().zip(x.iter().rev()) {
            *out = *x;
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_becomes_the_last() {
        let x: Vec<f32> = (0..40_001).map(|i| i as f32).collect();
        let mut out = vec![0.0; x.len()];
        super::cpu(&x, &mut out);
        assert!(out.iter().zip(x.iter().rev()).all(|(a, b)| a == b));
    }
}
