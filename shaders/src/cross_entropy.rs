//! The loss of every token: `logsumexp(logits) − logits[target]`.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel,
    simd::{LANES, exp, maximum, multiversion, pairwise},
    wgsl,
};

/// Bindings: logits f32, targets u32, loss f32. A workgroup for every row.
pub const KERNEL: Kernel = wgsl::cross_entropy::KERNEL.with::<Params>();

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
    /// The first row of the loss in its panel.
    pub loss_row: u32,
    /// The bits of the loss of a target that is not in the vocabulary: a NaN's.
    pub nan: u32,
}

/// `loss[t] = logsumexp(logits[t]) − logits[t, targets[t]]`: logits `[tokens, vocab]`, targets and loss
/// `[tokens]`.
///
/// # Panics
/// A target is not below `vocab`, or the slices are not of fitting sizes.
pub fn cpu(logits: &[f32], vocab: usize, targets: &[u32], loss: &mut [f32]) {
    assert_eq!(logits.len(), targets.len() * vocab, "logits are [tokens, vocab]");
    assert_eq!(loss.len(), targets.len(), "loss is [tokens]");
    if vocab == 0 {
        return;
    }
    logits.par_chunks_exact(vocab).zip(targets).zip(loss).for_each(|((logits, target), loss)| {
        let max = maximum(logits);
        let sum = sum_exponentials(logits, max);
        *loss = (sum.ln() + f64::from(max) - f64::from(logits[*target as usize])) as f32;
    });
}

multiversion! {
    /// `Σ e^(x − max)`, in f64 because a vocabulary is long.
    fn sum_exponentials(x: &[f32], max: f32) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let (blocks, rest) = x.as_chunks::<LANES>();
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += f64::from(exp(*x - max));
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(exp(*x - max));
        }
        pairwise(&mut lanes)
    }
}
