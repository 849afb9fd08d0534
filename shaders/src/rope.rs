//! Rotary position embedding in the half-split layout of Hugging Face's LLaMA.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Kernel, simd::multiversion, wgsl};

/// Bindings: x f32, in place; table f32, cosines left and sines right; positions u32. A workgroup for
/// every [`PER_WORKGROUP`] pairs of elements.
pub const KERNEL: Kernel = wgsl::rope::KERNEL.with::<Params>();

/// Pairs of elements that a workgroup takes.
pub const PER_WORKGROUP: usize = wgsl::rope::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of x to turn.
    pub rows: u32,
    /// Heads in a row.
    pub heads: u32,
    /// Elements of a head, an even number.
    pub head_dim: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of positions in its panel.
    pub positions_row: u32,
    /// The first position of the table's panel.
    pub table_start: u32,
    /// Positions in the table's panel. Rows at other positions are left as they are.
    pub table_rows: u32,
}

/// Turns, in place, in every head the pair `(i, i + head_dim/2)` by the angle of the row's position:
/// x `[tokens, width]`, where `head_dim` divides `width`; table `[…, head_dim]` with a position's cosines in
/// the left half of its row and the sines in the right; positions `[tokens]`.
///
/// # Panics
/// A position is beyond the table, or the slices are not of fitting sizes.
pub fn cpu(x: &mut [f32], width: usize, head_dim: usize, table: &[f32], positions: &[u32]) {
    assert_eq!(x.len(), positions.len() * width, "x is [tokens, width]");
    if width == 0 {
        return;
    }
    x.par_chunks_exact_mut(width).zip(positions).with_min_len(8).for_each(|(x, position)| {
        let (cos, sin) = table[*position as usize * head_dim..][..head_dim].split_at(head_dim / 2);
        turn(x, head_dim, cos, sin);
    });
}

multiversion! {
    fn turn(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
        for head in x.chunks_exact_mut(head_dim) {
            let (left, right) = head.split_at_mut(head_dim / 2);
            for (((left, right), cos), sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                (*left, *right) = (*left * cos - *right * sin, *right * cos + *left * sin);
            }
        }
    }
}
