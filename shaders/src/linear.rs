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
    rms_norm::{self, Norm},
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

/// Tokens that are normalised or rounded at a time, for all layers that read them.
const PREPARED_TOKENS: usize = 2 * TILE_TOKENS;

/// What linear layers read: rows as they are, or normalised on the way.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[tokens, inputs]`
    pub x: &'a [f32],
    /// Rows.
    pub tokens: usize,
    /// Columns.
    pub inputs: usize,
    /// What each row goes through first.
    pub norm: Option<Norm<'a>>,
}

/// A linear layer and what becomes of it.
#[derive(Debug)]
pub struct Layer<'a> {
    /// `[outputs, inputs]`
    pub w: Floats<'a>,
    /// `[outputs]`
    pub bias: Option<Floats<'a>>,
    /// Whether y is added to.
    pub accumulate: bool,
    /// `[tokens, outputs]`
    pub y: &'a mut [f32],
}

/// `y = x · wᵀ (+ bias) (+ y if accumulate)` for every layer. x, normalised if there is a norm, and w are rounded to the
/// type to compute in.
///
/// Rows are normalised, rounded and packed for all layers at once, thousands at a time, so that what a norm makes of
/// them is never written as a whole. The result does not depend on the number of threads, nor on what other layers
/// there are.
///
/// # Panics
/// The slices are not of these sizes.
pub fn cpu(input: Input<'_>, compute: Compute, layers: &mut [Layer<'_>]) {
    let Input { x, tokens, inputs, norm } = input;
    assert_eq!(x.len(), tokens * inputs, "x is [tokens, inputs]");
    assert!(norm.is_none_or(|norm| norm.weight.len() == inputs), "the norm's weight is [inputs]");
    if tokens == 0 {
        return;
    }
    let norm = norm.map(|norm| (norm.weight.to_vec(), norm.eps));
    let rows = Rows { x, inputs, compute, norm };
    let layers = layers.iter_mut().filter(|layer| !layer.y.is_empty());
    let mut products: Vec<_> = layers.map(|layer| Product::of_layer(layer, &rows, tokens)).collect();
    #[cfg(target_arch = "x86_64")]
    if tokens > FEW_TOKENS
        && inputs > 0
        && let Some(words) = avx512::Words::of(compute)
    {
        return avx512::multiply(words, &rows, tokens, &mut products);
    }
    multiply(&rows, tokens, &mut products);
}

/// The rows of an input.
struct Rows<'a> {
    x: &'a [f32],
    inputs: usize,
    compute: Compute,
    /// A weight for every input, and what is added to the mean of squares.
    norm: Option<(Vec<f32>, f32)>,
}

impl<'a> Rows<'a> {
    /// Whether they are multiplied as they are.
    fn plain(&self) -> bool {
        self.inputs == 0 || (self.compute == Compute::F32 && self.norm.is_none())
    }

    /// These rows as they are multiplied, in `prepared` if anything is done to them.
    fn prepare<'s>(&self, rows: std::ops::Range<usize>, prepared: &'s mut Vec<f32>) -> &'s [f32]
    where
        'a: 's,
    {
        let x = &self.x[rows.start * self.inputs..rows.end * self.inputs];
        if self.plain() {
            return x;
        }
        prepared.clear();
        prepared.extend_from_slice(x);
        prepared.par_chunks_mut(self.inputs).zip(x.par_chunks(self.inputs)).for_each(|(out, x)| {
            if let Some((weight, eps)) = &self.norm {
                rms_norm::scale(x, rms_norm::factor(x, *eps), weight, out);
            }
            self.compute.round(out);
        });
        prepared
    }
}

/// Computes products on any processor.
fn multiply(rows: &Rows, tokens: usize, products: &mut [(Product, &mut [f32])]) {
    let most = if rows.plain() { tokens } else { PREPARED_TOKENS };
    let mut prepared = Vec::new();
    for first in (0..tokens).step_by(most) {
        let end = tokens.min(first + most);
        let x = rows.prepare(first..end, &mut prepared);
        for (product, y) in &mut *products {
            product.of(x, &mut y[first * product.outputs..end * product.outputs]);
        }
    }
}

/// All of a product but its tokens.
struct Product<'a> {
    w: Floats<'a>,
    compute: Compute,
    bias: Option<Vec<f32>>,
    accumulate: bool,
    inputs: usize,
    outputs: usize,
}

impl<'a> Product<'a> {
    /// A layer's product with rows, and where it goes.
    fn of_layer<'y>(layer: &'y mut Layer<'a>, rows: &Rows, tokens: usize) -> (Self, &'y mut [f32]) {
        let Layer { w, bias, accumulate, ref mut y } = *layer;
        let (inputs, outputs) = (rows.inputs, y.len() / tokens);
        assert_eq!(y.len(), tokens * outputs, "y is [tokens, outputs]");
        assert_eq!(w.len(), outputs * inputs, "w is [outputs, inputs]");
        let bias = bias.map(Floats::to_vec);
        assert!(bias.as_ref().is_none_or(|bias| bias.len() == outputs), "bias is [outputs]");
        // Without inputs there is nothing to widen.
        let w = if inputs == 0 { Floats::F32(&[]) } else { w };
        (Self { w, compute: rows.compute, bias, accumulate, inputs, outputs }, y)
    }

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

    /// The product with rows that are prepared.
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
        let Some(bias) = &self.bias else { return self.accumulate };
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
        let &Self { accumulate, inputs, outputs, .. } = self;
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
                let sum = self.bias.as_ref().map_or(*sum, |bias| sum + bias[output]);
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
        let norm = Norm { weight: Floats::F32(&w[..inputs]), eps: 1e-5 };
        let half: Vec<f16> = w.iter().map(|x| f16::from_f32(*x)).collect();
        for w in [Floats::F32(&w), Floats::F16(&half)] {
            for (compute, norm) in Compute::ALL.into_iter().zip([None, Some(norm), Some(norm)]) {
                let (mut one, mut other) = (elements(4, tokens * outputs), elements(4, tokens * outputs));
                let input = Input { x: &x, tokens, inputs, norm };
                let layer = |y| Layer { w, bias: Some(Floats::F32(&bias)), accumulate: true, y };
                cpu(input, compute, &mut [layer(&mut one)]);
                let norm = norm.map(|norm| (norm.weight.to_vec(), norm.eps));
                let rows = Rows { x: &x, inputs, compute, norm };
                multiply(&rows, tokens, &mut [Product::of_layer(&mut layer(&mut other), &rows, tokens)]);
                for (one, other) in one.into_iter().zip(other) {
                    assert!((one - other).abs() < 2e-3 * one.abs().max(1.0), "{compute}: {one} {other}");
                }
            }
        }
    }
}
