//! `x = f(scale · x) ∘ (alpha · b)` in place, element by element, with `b` repeated where it is smaller.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Binary, Kernel, Repeat, Unary,
    simd::{Fast, multiversion},
    wgsl,
    zip::{BLOCK, elements, for_all},
};

/// Bindings: b f32, x f32. A workgroup for every [`PER_WORKGROUP`] elements.
///
/// Constants: `F`, the [`Unary`]'s number; `OP`, the [`Binary`]'s; `REPEAT`, the [`Repeat`]'s.
pub const KERNEL: Kernel = wgsl::update::KERNEL.with::<Params>();

/// Elements that a workgroup computes.
pub const PER_WORKGROUP: usize = wgsl::update::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Elements to compute, in whole rows.
    pub count: u32,
    /// Columns of x.
    pub cols: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of b in its panel; 0 where b is repeated for every row.
    pub b_row: u32,
    /// The factor of x.
    pub scale: f32,
    /// The factor of b.
    pub alpha: f32,
}

/// `x = f(scale · x) ∘ (alpha · b)`, element by element: x `[rows, cols]`; b as large, or one row, one column or one number,
/// as `repeat` says.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(
    (f, scale): (Unary, f32),
    op: Binary,
    (alpha, b, repeat): (f32, &[f32], Repeat),
    x: &mut [f32],
    cols: usize,
) {
    if x.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(cols), "x is [rows, cols]");
    assert_eq!(b.len(), elements(repeat, x.len() / cols, cols), "b is repeated as said");
    let task_rows = (BLOCK / cols).max(1);
    x.par_chunks_mut(task_rows * cols).enumerate().for_each(|(task, x)| {
        for (row, x) in x.chunks_exact_mut(cols).enumerate() {
            let row = task * task_rows + row;
            match repeat {
                Repeat::Nowhere => pairs(f, scale, op, alpha, &b[row * cols..][..cols], x),
                Repeat::Row => pairs(f, scale, op, alpha, b, x),
                Repeat::Column => with_number(f, scale, op, alpha * b[row], x),
                Repeat::Number => with_number(f, scale, op, alpha * b[0], x),
            }
        }
    });
}

multiversion! {
    fn pairs(f: Unary, scale: f32, op: Binary, alpha: f32, b: &[f32], x: &mut [f32]) {
        for_all!(f, op, |f, op| for (x, b) in x.iter_mut().zip(b) {
            *x = op(f(scale * *x), alpha * b);
        })
    }
}

multiversion! {
    fn with_number(f: Unary, scale: f32, op: Binary, b: f32, x: &mut [f32]) {
        for_all!(f, op, |f, op| for x in x.iter_mut() {
            *x = op(f(scale * *x), b);
        })
    }
}
