//! `x = +0` where a mask's bit is set.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Kernel, simd::multiversion, wgsl};

/// Bindings: mask u32, x f32. A workgroup for every [`PER_WORKGROUP`] elements.
pub const KERNEL: Kernel = wgsl::zero_where::KERNEL.with::<Params>();

/// Elements that a workgroup computes.
pub const PER_WORKGROUP: usize = wgsl::zero_where::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Elements, in whole rows.
    pub count: u32,
    /// Columns of x.
    pub cols: u32,
    /// The first row of the mask in its panel.
    pub mask_row: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
}

/// `x = +0` where the mask's bit is set: x `[rows, cols]`, mask `[rows, ⌈cols / 32⌉]`, in place.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(mask: &[u32], cols: usize, x: &mut [f32]) {
    if cols == 0 {
        return;
    }
    let words = cols.div_ceil(32);
    assert_eq!(x.len() / cols * words, mask.len(), "mask is [rows, ⌈cols / 32⌉]");
    x.par_chunks_exact_mut(cols).zip(mask.par_chunks_exact(words)).with_min_len(8).for_each(|(x, mask)| {
        row(mask, x);
    });
}

multiversion! {
    fn row(mask: &[u32], x: &mut [f32]) {
        for (word, x) in mask.iter().zip(x.chunks_mut(32)) {
            for (bit, x) in x.iter_mut().enumerate() {
                *x = if (word >> bit) & 1 == 1 { 0.0 } else { *x };
            }
        }
    }
}
