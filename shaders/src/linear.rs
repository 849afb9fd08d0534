//! `y = x · wᵀ (+ bias) (+ y)`: a linear layer.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::{
    Access, Compute, Floats, Kernel,
    dots::dots,
    parallel::{Disjoint, with_scratch},
    product::{Operand, product},
};

/// Bindings: x f32, w (`W_DTYPE`), bias (any of the same types; ignored without [`ADD_BIAS`]), y f32.
///
/// Constants: `W_DTYPE` and `COMPUTE`, see [`Compute`], 0 f32, 1 f16, 2 bf16; `ALIGNED`, whether `ins` is a multiple of
/// 4; `GX` and `GY`, powers of two, and `ROWS`, 1 or 2: a workgroup computes `4 · ROWS · GY` tokens × `8 · GX` outputs.
/// Every output is summed by one invocation, from the first column to the last, so that the tile does not show in
/// the result.
pub const KERNEL: Kernel = Kernel {
    name: "linear",
    wgsl: concat!(include_str!("linear/operands.wgsl"), include_str!("linear.wgsl")),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Write],
    params: size_of::<Params>() as u32,
};

/// Tokens that an invocation computes for each of the constant `ROWS`.
pub const TOKENS: u32 = 4;
/// Outputs that an invocation computes.
pub const OUTPUTS: u32 = 8;
/// Bytes of workgroup memory for every row of x and w in a tile: sixteen columns of it.
pub const STAGED_BYTES: u32 = 16 * size_of::<f32>() as u32;

/// In [`Params::flags`]: add the bias, whose type's number is shifted left by [`BIAS_DTYPE_SHIFT`].
pub const ADD_BIAS: u32 = 1;
/// In [`Params::flags`]: add to what y holds.
pub const ACCUMULATE: u32 = 2;
/// Where [`Params::flags`] has the number of the bias's type.
pub const BIAS_DTYPE_SHIFT: u32 = 2;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of x and y to compute.
    pub tokens: u32,
    /// Rows of w to compute with.
    pub outs: u32,
    /// Columns of x and w.
    pub ins: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of w in its panel.
    pub w_row: u32,
    /// The first row of y in its panel.
    pub y_row: u32,
    /// The column of y where w's first row goes; also its place in the bias.
    pub y_col: u32,
    /// Columns of y.
    pub y_cols: u32,
    /// [`ADD_BIAS`], [`ACCUMULATE`] and the bias's type.
    pub flags: u32,
}

/// The tile of y that one task computes. Wide in tokens, because every task widens and packs its own
/// weights: measured on Zen 4, 1024 × 128 runs at the speed of `gemm` alone, 256 × 256 a third slower.
const TILE_TOKENS: usize = 1024;
const TILE_OUTPUTS: usize = 128;

/// How many inputs of half-precision weights are widened at a time: a panel of `TILE_OUTPUTS` rows then
/// fits the second-level cache.
const PANEL_INPUTS: usize = 2048;

/// Up to so many tokens a product reads every weight for so few multiplications that memory sets the
/// pace, and packing it first would only add traffic.
const FEW_TOKENS: usize = 64;

/// Tokens that are rounded at a time, where the processor has no instructions for [`Compute`]'s type.
const ROUNDED_TOKENS: usize = 2 * TILE_TOKENS;

/// `y = x · wᵀ (+ bias) (+ y if accumulate)`: x `[tokens, inputs]`, w `[outputs, inputs]`, bias `[outputs]`,
/// y `[tokens, outputs]`. x and w are rounded to the type to compute in.
///
/// The result does not depend on the number of threads.
///
/// # Panics
/// The slices are not of these sizes.
pub fn cpu(
    x: &[f32],
    w: Floats<'_>,
    bias: Option<Floats<'_>>,
    accumulate: bool,
    (tokens, inputs, outputs): (usize, usize, usize),
    compute: Compute,
    y: &mut [f32],
) {
    assert_eq!(x.len(), tokens * inputs, "x is [tokens, inputs]");
    assert_eq!(w.len(), outputs * inputs, "w is [outputs, inputs]");
    assert_eq!(y.len(), tokens * outputs, "y is [tokens, outputs]");
    let bias = bias.map(Floats::to_vec);
    let bias = bias.as_deref();
    // Without inputs there is nothing to widen.
    let w = if inputs == 0 { Floats::F32(&[]) } else { w };
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias is [outputs]");
    if outputs == 0 {
        return;
    }
    let product = Product { w, compute, bias, accumulate, inputs, outputs };
    #[cfg(target_arch = "x86_64")]
    if tokens > FEW_TOKENS
        && inputs > 0
        && let Some(words) = avx512::Words::of(compute)
    {
        return product.packed(words, x, y);
    }
    if compute == Compute::F32 || inputs == 0 {
        return product.of(x, y);
    }
    let mut rounded = Vec::new();
    for (x, y) in x.chunks(ROUNDED_TOKENS * inputs).zip(y.chunks_mut(ROUNDED_TOKENS * outputs)) {
        rounded.clear();
        rounded.extend_from_slice(x);
        rounded.par_chunks_mut(inputs).for_each(|row| compute.round(row));
        product.of(&rounded, y);
    }
}

/// All of a product but its tokens.
struct Product<'a> {
    w: Floats<'a>,
    compute: Compute,
    bias: Option<&'a [f32]>,
    accumulate: bool,
    inputs: usize,
    outputs: usize,
}

impl<'a> Product<'a> {
    /// The weights, if they need neither widening nor rounding.
    fn plain(&self) -> Option<&'a [f32]> {
        match self.w {
            Floats::F32(w) if self.compute == Compute::F32 => Some(w),
            _ => None,
        }
    }

    fn widen(&self, range: std::ops::Range<usize>, out: &mut [f32]) {
        self.w.slice(range).widen(out);
        self.compute.round(out);
    }

    /// The product with x that is already rounded.
    fn of(&self, x: &[f32], y: &mut [f32]) {
        let tokens = y.len() / self.outputs;
        if tokens <= FEW_TOKENS { self.few_tokens(tokens, x, y) } else { self.tiles(tokens, x, y) }
    }

    fn tiles(&self, tokens: usize, x: &[f32], y: &mut [f32]) {
        let &Self { inputs, outputs, .. } = self;
        self.each_tile(
            tokens,
            (TILE_TOKENS, TILE_OUTPUTS),
            y,
            |(first_token, m), (first_output, n), mut keep, y| {
                let mut add = |w: Operand, first_input: usize, k: usize| {
                    let x = Operand::rows(&x[first_token * inputs + first_input..], inputs);
                    let beta = if keep { 1.0 } else { 0.0 };
                    // SAFETY: x, w and y hold these rows and columns, and the tile of y is this task's alone.
                    unsafe {
                        let y = y.at(first_token * outputs + first_output);
                        product((m, n, k), 1.0, x, w.t(), beta, y, outputs);
                    }
                    keep = true;
                };
                if let Some(w) = self.plain() {
                    add(Operand::rows(&w[first_output * inputs..], inputs), 0, inputs);
                    return;
                }
                for first_input in (0..inputs).step_by(PANEL_INPUTS) {
                    let k = PANEL_INPUTS.min(inputs - first_input);
                    with_scratch(n * k, |panel| {
                        for (row, panel) in panel.chunks_exact_mut(k).enumerate() {
                            let start = (first_output + row) * inputs + first_input;
                            self.widen(start..start + k, panel);
                        }
                        add(Operand::rows(panel, k), first_input, k);
                    });
                }
            },
        );
    }

    /// Computes y in tiles of at most so many tokens and outputs, each a task. A task is given its tokens and its outputs,
    /// as first and how many, and whether something is in y that the product is added to: the bias is there already.
    fn each_tile(
        &self,
        tokens: usize,
        (most_tokens, most_outputs): (usize, usize),
        y: &mut [f32],
        task: impl Fn((usize, usize), (usize, usize), bool, &Disjoint<'_, f32>) + Sync,
    ) {
        let token_tiles = tokens.div_ceil(most_tokens);
        let y = Disjoint::new(y);
        let tiles = self.outputs.div_ceil(most_outputs) * token_tiles;
        (0..tiles).into_par_iter().with_max_len(1).for_each(|tile| {
            let (first_output, first_token) =
                (tile / token_tiles * most_outputs, tile % token_tiles * most_tokens);
            let tokens = (first_token, most_tokens.min(tokens - first_token));
            let outputs = (first_output, most_outputs.min(self.outputs - first_output));
            // SAFETY: this tile is this task's alone.
            let keep = unsafe { self.prefill(tokens, outputs, &y) };
            task(tokens, outputs, keep, &y);
        });
    }

    /// Puts the bias into a tile of y. Whether the tile then holds something that the product is added to.
    ///
    /// # Safety
    /// No other task uses the tile meanwhile.
    unsafe fn prefill(&self, tokens: (usize, usize), outputs: (usize, usize), y: &Disjoint<'_, f32>) -> bool {
        let Some(bias) = self.bias else { return self.accumulate };
        for token in tokens.0..tokens.0 + tokens.1 {
            // SAFETY: this row of the tile, as the caller promises.
            let y = unsafe { y.slice(token * self.outputs + outputs.0, outputs.1) };
            for (y, bias) in y.iter_mut().zip(&bias[outputs.0..]) {
                *y = if self.accumulate { *y + bias } else { *bias };
            }
        }
        true
    }

    fn few_tokens(&self, tokens: usize, x: &[f32], y: &mut [f32]) {
        let &Self { bias, accumulate, inputs, outputs, .. } = self;
        let x: Vec<&[f32]> = (0..tokens).map(|token| &x[token * inputs..(token + 1) * inputs]).collect();
        let y = Disjoint::new(y);
        (0..outputs).into_par_iter().with_min_len(16).for_each(|output| {
            let mut sums = [0.0; FEW_TOKENS];
            let sums = &mut sums[..tokens];
            let row = output * inputs..(output + 1) * inputs;
            match self.plain() {
                Some(w) => dots(&x, &w[row], sums),
                None => with_scratch(inputs, |wide| {
                    self.widen(row, wide);
                    dots(&x, wide, sums);
                }),
            }
            for (token, sum) in sums.iter().enumerate() {
                // SAFETY: one element, which is this task's alone.
                let y = unsafe { &mut y.slice(token * outputs + output, 1)[0] };
                let sum = bias.map_or(*sum, |bias| sum + bias[output]);
                *y = if accumulate { *y + sum } else { sum };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    /// What processors without AVX-512 run, which the tests of [`cpu`] do not reach on those with it.
    #[test]
    fn every_way_to_multiply_agrees() {
        let (tokens, inputs, outputs) = (130, 2100, 150);
        let elements = |seed: usize, count: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 7.0 - 1.5).collect()
        };
        let (x, w, bias) =
            (elements(1, tokens * inputs), elements(2, outputs * inputs), elements(3, outputs));
        let half: Vec<f16> = w.iter().map(|x| f16::from_f32(*x)).collect();
        for w in [Floats::F32(&w), Floats::F16(&half)] {
            for compute in Compute::ALL {
                let (mut one, mut other) = (elements(4, tokens * outputs), elements(4, tokens * outputs));
                cpu(&x, w, Some(Floats::F32(&bias)), true, (tokens, inputs, outputs), compute, &mut one);
                let mut rounded = x.clone();
                compute.round(&mut rounded);
                Product { w, compute, bias: Some(&bias), accumulate: true, inputs, outputs }
                    .of(&rounded, &mut other);
                for (one, other) in one.into_iter().zip(other) {
                    assert!((one - other).abs() < 2e-3 * one.abs().max(1.0), "{compute}: {one} {other}");
                }
            }
        }
    }
}
