//! `out = J x J`: the order of rows and of columns reversed.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Kernel, wgsl};

/// Bindings: x, out words. A workgroup for every [`PER_WORKGROUP`] elements.
pub const KERNEL: Kernel = wgsl::reverse::KERNEL.with::<Params>();

/// Elements that a workgroup computes.
pub const PER_WORKGROUP: usize = wgsl::reverse::PER_WORKGROUP as usize;

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

/// Reverses the order of rows and of columns, in place.
pub fn cpu(x: &mut [f32]) {
    const PIECE: usize = 1 << 14;
    let half = x.len() / 2;
    let (first, rest) = x.split_at_mut(half);
    // Of an odd number the one in the middle stays.
    let middle = rest.len() - half;
    let last = &mut rest[middle..];
    first.par_chunks_mut(PIECE).zip(last.par_rchunks_mut(PIECE)).for_each(|(first, last)| {
        first.iter_mut().zip(last.iter_mut().rev()).for_each(|(a, b)| std::mem::swap(a, b));
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_becomes_the_last() {
        for count in [0, 1, 2, 40_000, 40_001] {
            let x: Vec<f32> = (0..count).map(|i| i as f32).collect();
            let mut out = x.clone();
            super::cpu(&mut out);
            assert!(out.iter().eq(x.iter().rev()), "{count}");
        }
    }
}
