//! Copies a rectangle of one matrix onto one of another.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{Kernel, wgsl};

/// Bindings: x, out words. A workgroup for every [`PER_WORKGROUP`] words.
///
/// Constants: `LOWER`, whether words above the diagonal become 0.
pub const KERNEL: Kernel = wgsl::copy_block::KERNEL.with::<Params>();

/// Words that a workgroup copies.
pub const PER_WORKGROUP: usize = wgsl::copy_block::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of the rectangle.
    pub rows: u32,
    /// Words in a row of the rectangle.
    pub cols: u32,
    /// Where the rectangle starts in the panel of x.
    pub x_start: u32,
    /// Words in a row of x.
    pub x_stride: u32,
    /// Where the rectangle starts in the panel of out.
    pub out_start: u32,
    /// Words in a row of out.
    pub out_stride: u32,
    /// With `LOWER`: words of column `c > r + diagonal` become 0.
    pub diagonal: u32,
}

/// Copies `rows` rows of `bytes` bytes each: from x, whose rows are `stride` bytes apart, at (row, byte) `from`,
/// to out, whose rows are `out_stride` bytes apart, at `to`.
///
/// # Panics
/// A rectangle is not inside its matrix.
pub fn cpu(
    x: &[u8],
    stride: usize,
    from: (usize, usize),
    (rows, bytes): (usize, usize),
    out: &mut [u8],
    out_stride: usize,
    to: (usize, usize),
) {
    if rows == 0 || bytes == 0 {
        return;
    }
    assert!(
        from.1 + bytes <= stride && to.1 + bytes <= out_stride,
        "the rectangle's columns are the matrices'"
    );
    let x = &x[from.0 * stride..(from.0 + rows) * stride];
    let out = &mut out[to.0 * out_stride..(to.0 + rows) * out_stride];
    let lines = out.par_chunks_exact_mut(out_stride).zip(x.par_chunks_exact(stride));
    lines.with_min_len((1 << 16) / bytes + 1).for_each(|(out, x)| {
        out[to.1..to.1 + bytes].copy_from_slice(&x[from.1..from.1 + bytes]);
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_rectangle_changes() {
        let x: Vec<u8> = (0..35).collect();
        let mut out = vec![255; 40];
        super::cpu(&x, 7, (1, 2), (3, 4), &mut out, 8, (2, 1));
        for (at, &byte) in out.iter().enumerate() {
            let (row, col) = (at / 8, at % 8);
            let inside = (2..5).contains(&row) && (1..5).contains(&col);
            let expected = if inside { x[(row - 1) * 7 + col + 1] } else { 255 };
            assert_eq!(byte, expected, "{row} {col}");
        }
    }
}
