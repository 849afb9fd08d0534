//! `y = x · wᵀ (+ bias)`, added to what is in y, or gated by it: a linear layer.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
mod avx512;
mod few;
mod gate;
mod portable;

use crate::{
    Compute, Floats, Kernel, Weights,
    packed::Expanded,
    parallel::{Disjoint, Tile, with_scratch},
    rms_norm::{self, Norm},
    wgsl,
};

/// Bindings: x f32, w (`W_DTYPE`), bias (any of the same types; ignored without [`ADD_BIAS`]), y f32.
///
/// Constants: `W_DTYPE` and `COMPUTE`, see [`Compute`], 0 f32, 1 f16, 2 bf16; `ALIGNED`, whether `ins` is a multiple of
/// 4; `GX` and `GY`, powers of two, and `ROWS`, 1 or 2: a workgroup computes `4 · ROWS · GY` tokens × `8 · GX` outputs.
/// Every output is summed by one invocation, from the first column to the last, so that the tile does not show in
/// the result.
pub const KERNEL: Kernel = wgsl::linear::KERNEL.with::<Params>();

/// Tokens that an invocation computes for each of the constant `ROWS`.
pub const TOKENS: u32 = 4;
/// Outputs that an invocation computes.
pub const OUTPUTS: u32 = 8;
/// Bytes of workgroup memory for every row of x and w in a tile: as many columns of it as are staged.
pub const STAGED_BYTES: u32 = wgsl::linear::DEPTH * size_of::<f32>() as u32;

/// In [`Params::flags`]: add the bias, whose type's number is shifted left by [`BIAS_DTYPE_SHIFT`].
pub const ADD_BIAS: u32 = 1;
/// Where [`Params::flags`] has the number of the bias's type.
pub const BIAS_DTYPE_SHIFT: u32 = 2;

/// The way a product is written to y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The product.
    Write,
    /// Its sum with the product.
    Add,
    /// Its silu times the product.
    Gate,
}

impl Mode {
    /// The flag in [`Params::flags`].
    pub fn flag(self) -> u32 {
        match self {
            Self::Write => 0,
            Self::Add => 2,
            Self::Gate => 16,
        }
    }
}

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
    /// [`ADD_BIAS`], the bias's type and what the [`Mode`] says.
    pub flags: u32,
}

/// Up to so many tokens a product reads every weight for so few multiplications that memory sets the
/// pace, and packing it first would only add traffic.
pub const FEW_TOKENS: usize = 64;

/// The input of linear layers: rows as they are, or normalised on the way.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[tokens, inputs]`
    pub x: &'a [f32],
    /// Rows.
    pub tokens: usize,
    /// Columns.
    pub inputs: usize,
    /// The normalisation of each row.
    pub norm: Option<Norm<'a>>,
}

/// A linear layer and what becomes of it.
#[derive(Debug)]
pub struct Layer<'a> {
    /// `[outputs, inputs]`
    pub w: Weights<'a>,
    /// `[outputs]`
    pub bias: Option<Floats<'a>>,
    /// The destination of the product.
    pub onto: Onto<'a>,
    /// `[tokens, outputs]`
    pub y: &'a mut [f32],
}

/// The destination of a product.
#[derive(Debug, Clone, Copy)]
pub enum Onto<'a> {
    /// Nothing: y is written over.
    Nothing,
    /// y, which it is added to.
    Sum,
    /// A gate: `y = silu(x · gateᵀ) · (x · wᵀ)` (SwiGLU; Shazeer, 2002.05202).
    Gate {
        /// `[outputs, inputs]`
        w: Weights<'a>,
        /// `[outputs]`
        bias: Option<Floats<'a>>,
    },
}

/// `y = x · wᵀ (+ bias)` for every layer, or what its [`Onto`] says. x, normalised if there is a norm, and w are rounded
/// to the type to compute in.
///
/// Rows are normalised, rounded and packed for all layers at once, thousands at a time, so that what a norm makes of
/// them is never written as a whole. The result does not depend on the number of threads, nor on what other layers
/// there are, nor on whether the weights' zeros are left out; on the number of tokens it depends only by whether there are
/// more than [`FEW_TOKENS`].
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
    let mut layers: Vec<_> = layers.iter_mut().filter(|layer| !layer.y.is_empty()).collect();
    if tokens <= FEW_TOKENS {
        let layers = layers.into_iter().map(|layer| Products::new(layer, &[None, None], &rows, tokens));
        return few::multiply(&rows, tokens, &mut layers.collect::<Vec<_>>());
    }
    // For many tokens, zeros are put in once.
    let expanded: Vec<_> = layers.iter().map(|layer| layer.weights().map(|w| w?.expanded())).collect();
    let layers = layers.iter_mut().zip(&expanded);
    let mut layers: Vec<_> =
        layers.map(|(layer, expanded)| Products::new(layer, expanded, &rows, tokens)).collect();
    #[cfg(target_arch = "x86_64")]
    if inputs > 0
        && let Some(words) = crate::panels::Words::of(compute)
    {
        return avx512::multiply(words, &rows, tokens, &mut layers);
    }
    portable::multiply(&rows, tokens, &mut layers);
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
        prepared.resize(x.len(), 0.0);
        prepared.par_chunks_mut(self.inputs).zip(x.par_chunks(self.inputs)).for_each(|(out, x)| {
            match &self.norm {
                Some((weight, eps)) => rms_norm::scale(x, rms_norm::factor(x, *eps), weight, out),
                None => out.copy_from_slice(x),
            }
            self.compute.round(out);
        });
        prepared
    }
}

/// A layer's products, which go to the same place one after the other: the gate's first.
struct Products<'a, 'y> {
    products: Vec<Product<'a>>,
    outputs: usize,
    y: &'y mut [f32],
}

impl<'a> Layer<'a> {
    /// Its weights and those of its gate.
    fn weights(&self) -> [Option<Weights<'a>>; 2] {
        match self.onto {
            Onto::Gate { w, .. } => [Some(self.w), Some(w)],
            Onto::Nothing | Onto::Sum => [Some(self.w), None],
        }
    }
}

impl<'a, 'y> Products<'a, 'y> {
    /// The products of a layer, with what its weights and its gate's were expanded to.
    fn new<'l: 'a>(
        layer: &'y mut Layer<'l>,
        [expanded, expanded_gate]: &'a [Option<Expanded>; 2],
        rows: &Rows,
        tokens: usize,
    ) -> Self {
        let outputs = layer.y.len() / tokens;
        assert_eq!(layer.y.len(), tokens * outputs, "y is [tokens, outputs]");
        let product = |w, bias, mode| Product::new(w, bias, mode, rows, outputs);
        let dense =
            |w, expanded: &'a Option<Expanded>| expanded.as_ref().map_or(w, |all| all.floats().into());
        let (w, bias) = (dense(layer.w, expanded), layer.bias);
        let products = match layer.onto {
            Onto::Nothing => vec![product(w, bias, Mode::Write)],
            Onto::Sum => vec![product(w, bias, Mode::Add)],
            Onto::Gate { w: gate, bias: gate_bias } => {
                vec![
                    product(dense(gate, expanded_gate), gate_bias, Mode::Write),
                    product(w, bias, Mode::Gate),
                ]
            }
        };
        Self { products, outputs, y: layer.y }
    }

    /// Runs every product on what these tokens become.
    fn each(&mut self, tokens: std::ops::Range<usize>, run: impl Fn(&Product, &mut [f32])) {
        let y = &mut self.y[tokens.start * self.outputs..tokens.end * self.outputs];
        self.products.iter().for_each(|product| run(product, y));
    }
}

/// Tokens to prepare at a time, in tiles of so many tokens and outputs: at least two tiles of them, and enough for every
/// thread to have several of the widest layer's.
fn prepared_tokens((tile_tokens, tile_outputs): (usize, usize), layers: &[Products]) -> usize {
    const TILES_A_THREAD: usize = 4;
    let across = layers.iter().map(|layer| layer.outputs.div_ceil(tile_outputs)).max().unwrap_or(1);
    tile_tokens * (TILES_A_THREAD * rayon::current_num_threads()).div_ceil(across).max(2)
}

/// All of a product but its tokens.
struct Product<'a> {
    w: Weights<'a>,
    compute: Compute,
    bias: Option<Vec<f32>>,
    mode: Mode,
    inputs: usize,
    outputs: usize,
}

impl<'a> Product<'a> {
    fn new(w: Weights<'a>, bias: Option<Floats>, mode: Mode, rows: &Rows, outputs: usize) -> Self {
        let inputs = rows.inputs;
        assert_eq!(w.len(), outputs * inputs, "w is [outputs, inputs]");
        let bias = bias.map(Floats::to_vec);
        assert!(bias.as_ref().is_none_or(|bias| bias.len() == outputs), "bias is [outputs]");
        // Without inputs there is nothing to widen.
        let w = if inputs == 0 { Floats::F32(&[]).into() } else { w };
        Self { w, compute: rows.compute, bias, mode, inputs, outputs }
    }

    /// The weights, where there are many tokens.
    fn dense(&self) -> Floats<'a> {
        match self.w {
            Weights::Dense(w) => w,
            Weights::Packed(_) => unreachable!("zeros are put in before"),
        }
    }

    /// Computes y in tiles of at most so many tokens and outputs, each a task. A task is given its tokens and its outputs,
    /// as first and how many, whether the product is added to what is in the tile, the bias for one, and the tile: a part
    /// of y, or what its gate is then multiplied with.
    fn each_tile(
        &self,
        tokens: usize,
        (most_tokens, most_outputs): (usize, usize),
        y: &mut [f32],
        task: impl Fn((usize, usize), (usize, usize), bool, Tile) + Sync,
    ) {
        let token_tiles = tokens.div_ceil(most_tokens);
        let y = Disjoint::new(y);
        let tiles = self.outputs.div_ceil(most_outputs) * token_tiles;
        (0..tiles).into_par_iter().with_max_len(1).for_each(|tile| {
            let (first_output, first_token) =
                (tile / token_tiles * most_outputs, tile % token_tiles * most_tokens);
            let tokens = (first_token, most_tokens.min(tokens - first_token));
            let outputs = (first_output, most_outputs.min(self.outputs - first_output));
            if self.mode != Mode::Gate {
                // SAFETY: this tile is this task's alone.
                let keep = unsafe { self.prefill(tokens, outputs, &y) };
                let start = y.at(first_token * self.outputs + first_output);
                return task(tokens, outputs, keep, Tile { start, stride: self.outputs });
            }
            with_scratch(tokens.1 * outputs.1, |product| {
                if let Some(bias) = &self.bias {
                    let rows = product.chunks_exact_mut(outputs.1);
                    rows.for_each(|row| row.copy_from_slice(&bias[first_output..][..outputs.1]));
                }
                let tile = Tile { start: product.as_mut_ptr(), stride: outputs.1 };
                task(tokens, outputs, self.bias.is_some(), tile);
                for (token, product) in (first_token..).zip(product.chunks_exact(outputs.1)) {
                    // SAFETY: this row of the tile, which is this task's alone.
                    let y = unsafe { y.slice(token * self.outputs + first_output, outputs.1) };
                    gate::gate_all(y, product);
                }
            });
        });
    }

    /// Puts the bias into a tile of y. Whether the tile then holds something that the product is added to.
    ///
    /// # Safety
    /// No other task uses the tile meanwhile.
    unsafe fn prefill(&self, tokens: (usize, usize), outputs: (usize, usize), y: &Disjoint<'_, f32>) -> bool {
        let adds = self.mode == Mode::Add;
        let Some(bias) = &self.bias else { return adds };
        for token in tokens.0..tokens.0 + tokens.1 {
            // SAFETY: this row of the tile, as the caller promises.
            let y = unsafe { y.slice(token * self.outputs + outputs.0, outputs.1) };
            for (y, bias) in y.iter_mut().zip(&bias[outputs.0..]) {
                *y = if adds { *y + bias } else { *bias };
            }
        }
        true
    }
}
