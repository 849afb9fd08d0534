//! `out = f(a) ∘ (alpha · b)`, element by element, with `b` repeated where it is smaller.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Binary, Kernel, Repeat, Unary,
    simd::{Fast, multiversion},
    wgsl,
};

/// Bindings: a f32, b f32, out f32. A workgroup for every [`PER_WORKGROUP`] elements.
///
/// Constants: `F`, the [`Unary`]'s number; `OP`, the [`Binary`]'s; `REPEAT`, the [`Repeat`]'s.
pub const KERNEL: Kernel = wgsl::zip::KERNEL.with::<Params>();

/// Elements that a workgroup computes.
pub const PER_WORKGROUP: usize = wgsl::zip::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Elements to compute, in whole rows.
    pub count: u32,
    /// Columns of a and out.
    pub cols: u32,
    /// The first row of a in its panel.
    pub a_row: u32,
    /// The first row of b in its panel; 0 where b is repeated for every row.
    pub b_row: u32,
    /// The first row of out in its panel.
    pub out_row: u32,
    /// The factor of b.
    pub alpha: f32,
}

/// Elements in a task, about.
pub(crate) const BLOCK: usize = 16 * 1024;

/// `out = f(a) ∘ (alpha · b)`, element by element: a and out `[rows, cols]`; b as large, or one row, one
/// column or one number, as `repeat` says.
///
/// # Panics
/// The slices are not of fitting sizes.
pub fn cpu(
    f: Unary,
    a: &[f32],
    op: Binary,
    alpha: f32,
    b: &[f32],
    repeat: Repeat,
    (rows, cols): (usize, usize),
    out: &mut [f32],
) {
    assert_eq!(a.len(), rows * cols, "a is [rows, cols]");
    assert_eq!(out.len(), rows * cols, "out is [rows, cols]");
    assert_eq!(b.len(), elements(repeat, rows, cols), "b is repeated as said");
    if out.is_empty() {
        return;
    }
    let task_rows = (BLOCK / cols).max(1);
    let tasks = a.par_chunks(task_rows * cols).zip(out.par_chunks_mut(task_rows * cols));
    tasks.enumerate().for_each(|(task, (a, out))| {
        let rows = a.chunks_exact(cols).zip(out.chunks_exact_mut(cols));
        for (row, (a, out)) in rows.enumerate() {
            let row = task * task_rows + row;
            match repeat {
                Repeat::Nowhere => pairs(f, a, op, alpha, &b[row * cols..][..cols], out),
                Repeat::Row => pairs(f, a, op, alpha, b, out),
                Repeat::Column => with_number(f, a, op, alpha * b[row], out),
                Repeat::Number => with_number(f, a, op, alpha * b[0], out),
            }
        }
    });
}

/// Elements of b beside `[rows, cols]`.
pub(crate) fn elements(repeat: Repeat, rows: usize, cols: usize) -> usize {
    match repeat {
        Repeat::Nowhere => rows * cols,
        Repeat::Row => cols,
        Repeat::Column => rows,
        Repeat::Number => 1,
    }
}

/// Expands to a loop for every pair of simple functions, so that none is chosen inside a loop, and for those that the gradient
/// of a gated MLP takes. What is left computes so much that choosing costs little.
macro_rules! for_all {
    ($f:expr, $op:expr, |$unary:ident, $binary:ident| $body:expr) => {
        match ($f, $op) {
            (Unary::Silu, Binary::Multiply) => {
                let ($unary, $binary) = (|x| Fast::Silu.of(x), |a: f32, b: f32| a * b);
                $body
            }
            (Unary::SiluGradient, Binary::Multiply) => {
                let ($unary, $binary) = (|x| Fast::SiluGradient.of(x), |a: f32, b: f32| a * b);
                $body
            }
            (f, op) => for_all!(@unary f, op, $unary, $binary, $body, Identity Abs Square Sqrt Reciprocal),
        }
    };
    (@unary $f:expr, $op:expr, $unary:ident, $binary:ident, $body:expr, $($name:ident)*) => {
        match $f {
            $(Unary::$name => {
                const F: Unary = Unary::$name;
                let $unary = |x| F.of(x);
                for_all!(@binary $op, $binary, $body, Add Subtract Multiply Divide Minimum Maximum)
            })*
            f => {
                let ($unary, $binary) = (|x| f.of(x), |a, b| $op.of(a, b));
                $body
            }
        }
    };
    (@binary $op:expr, $binary:ident, $body:expr, $($name:ident)*) => {
        match $op {
            $(Binary::$name => {
                const OP: Binary = Binary::$name;
                let $binary = |a, b| OP.of(a, b);
                $body
            })*
            op => {
                let $binary = |a, b| op.of(a, b);
                $body
            }
        }
    };
}
pub(crate) use for_all;

multiversion! {
    pub(crate) fn pairs(f: Unary, a: &[f32], op: Binary, alpha: f32, b: &[f32], out: &mut [f32]) {
        for_all!(f, op, |f, op| for ((a, b), out) in a.iter().zip(b).zip(out) {
            *out = op(f(*a), alpha * b);
        })
    }
}

multiversion! {
    fn with_number(f: Unary, a: &[f32], op: Binary, b: f32, out: &mut [f32]) {
        for_all!(f, op, |f, op| for (a, out) in a.iter().zip(out) {
            *out = op(f(*a), b);
        })
    }
}
