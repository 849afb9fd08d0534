//! Products on any processor, without packed rows.

use super::{Product, Products, Rows, prepared_tokens};
use crate::{
    Compute, Floats,
    parallel::with_scratch,
    product::{Operand, product},
};

/// The tile of y that one task computes. Wide in tokens, because every task widens and packs its own
/// weights: measured on Zen 4, 1024 × 128 runs at the speed of `gemm` alone, 256 × 256 a third slower.
const TILE_TOKENS: usize = 1024;
const TILE_OUTPUTS: usize = 128;

/// How many inputs of half-precision weights are widened at a time: a panel of `TILE_OUTPUTS` rows then
/// fits the second-level cache.
const PANEL_INPUTS: usize = 2048;

/// Computes products on any processor.
pub(super) fn multiply(rows: &Rows, tokens: usize, layers: &mut [Products]) {
    let most = if rows.plain() { tokens } else { prepared_tokens((TILE_TOKENS, TILE_OUTPUTS), layers) };
    let mut prepared = Vec::new();
    for first in (0..tokens).step_by(most) {
        let end = tokens.min(first + most);
        let x = rows.prepare(first..end, &mut prepared);
        for layer in &mut *layers {
            layer.each(first..end, |product, y| product.of(x, y));
        }
    }
}

impl<'a> Product<'a> {
    /// The weights, if they need neither widening nor rounding.
    fn plain(&self) -> Option<&'a [f32]> {
        match self.dense() {
            Floats::F32(w) if self.compute == Compute::F32 => Some(w),
            _ => None,
        }
    }

    fn widen(&self, range: std::ops::Range<usize>, out: &mut [f32]) {
        self.dense().slice(range).widen(out);
        self.compute.round(out);
    }

    /// The product with rows that are prepared.
    fn of(&self, x: &[f32], y: &mut [f32]) {
        let tokens = y.len() / self.outputs;
        let inputs = self.inputs;
        self.each_tile(
            tokens,
            (TILE_TOKENS, TILE_OUTPUTS),
            y,
            |(first_token, m), (first_output, n), mut keep, tile| {
                let mut add = |w: Operand, first_input: usize, k: usize| {
                    let x = Operand::rows(&x[first_token * inputs + first_input..], inputs);
                    let beta = if keep { 1.0 } else { 0.0 };
                    // SAFETY: x, w and the tile hold these rows and columns, and the tile is this task's alone.
                    unsafe { product((m, n, k), 1.0, x, w.t(), beta, tile.start, tile.stride) };
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
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use half::f16;

    /// The path of processors without AVX-512, which the tests of [`cpu`] do not reach on those with it.
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
                let w = Weights::from(w);
                let gate = Onto::Gate { w, bias: None };
                let onto = if compute == Compute::F16 { gate } else { Onto::Sum };
                let layer = |y| Layer { w, bias: Some(Floats::F32(&bias)), onto, y };
                cpu(input, compute, &mut [layer(&mut one)]);
                let norm = norm.map(|norm| (norm.weight.to_vec(), norm.eps));
                let rows = Rows { x: &x, inputs, compute, norm };
                multiply(
                    &rows,
                    tokens,
                    &mut [Products::new(&mut layer(&mut other), &[None, None], &rows, tokens)],
                );
                for (one, other) in one.into_iter().zip(other) {
                    assert!((one - other).abs() < 2e-3 * one.abs().max(1.0), "{compute}: {one} {other}");
                }
            }
        }
    }
}
