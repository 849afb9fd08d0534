//! The gradient of the loss of every token by its logits: `softmax(logits) − onehot(target)`.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel,
    simd::{LANES, exp, maximum, multiversion, pairwise},
    wgsl,
};

/// Bindings: logits f32, targets u32, factors f32, out f32. A workgroup for every row.
pub const KERNEL: Kernel = wgsl::cross_entropy_gradient::KERNEL.with::<Params>();

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows to compute.
    pub rows: u32,
    /// Columns of the logits.
    pub vocab: u32,
    /// The first row of the logits in its panel.
    pub logits_row: u32,
    /// The first row of the targets in its panel.
    pub targets_row: u32,
    /// The first row of the factors in its panel.
    pub factors_row: u32,
    /// The first row of the result in its panel.
    pub out_row: u32,
}

/// `out[t] = factors[t] · (softmax(logits[t]) − onehot(targets[t]))`: logits and out `[tokens, vocab]`, targets and factors
/// `[tokens]`.
///
/// # Panics
/// A target is not below `vocab`, or the slices are not of fitting sizes.
pub fn cpu(logits: &[f32], vocab: usize, targets: &[u32], factors: &[f32], out: &mut [f32]) {
    assert_eq!(logits.len(), targets.len() * vocab, "logits are [tokens, vocab]");
    assert_eq!(
        (out.len(), factors.len()),
        (logits.len(), targets.len()),
        "out is as logits, factors as targets"
    );
    if vocab == 0 {
        return;
    }
    let rows = out.par_chunks_exact_mut(vocab).zip(logits.par_chunks_exact(vocab)).zip(targets).zip(factors);
    rows.for_each(|(((out, logits), target), factor)| {
        let sum = exponentials(logits, maximum(logits), out);
        scale(out, (f64::from(*factor) / sum) as f32);
        out[*target as usize] -= factor;
    });
}

multiversion! {
    /// `out = e^(x − max)`, and the sum in f64 because a vocabulary is long.
    fn exponentials(x: &[f32], max: f32, out: &mut [f32]) -> f64 {
        let mut lanes = [0.0f64; LANES];
        for (x, out) in x.chunks(LANES).zip(out.chunks_mut(LANES)) {
            for ((lane, x), out) in lanes.iter_mut().zip(x).zip(out) {
                *out = exp(*x - max);
                *lane += f64::from(*out);
            }
        }
        pairwise(&mut lanes)
    }
}

multiversion! {
    fn scale(x: &mut [f32], factor: f32) {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}
