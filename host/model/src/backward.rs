//! Gradients through one block, written by hand: products, SwiGLU, RMSNorm, RoPE and attention.
//!
//! With `y = x Wᵀ`, the gradient by `W` is `dyᵀ x` and by `x` is `dy W`. A rotation's gradient is the opposite rotation. For
//! attention `o = P v` with `P = softmax(s q kᵀ)`: `dv = Pᵀ do`, `dP = do vᵀ`, `dS = P ∘ (dP − rowsum(P ∘ dP))`, `dq = s dS k`,
//! `dk = s dSᵀ q`, head by head. For RMSNorm `y = r w ∘ x` with `r = (mean(x²) + ε)^-½`, and `z = w ∘ dy`:
//! `dx = r z − x r³ mean(z ∘ x)`.

use super::{
    Batch, Block, Llama, ModelError, Result,
    layout::{LayerInput, Projection},
    low_rank::in_f32,
};
use espalier_device::{
    Axis, Binary, DType, Device, DeviceError, Onto, Op, Operand, Reduction, Span, Tensor, Unary,
};
use std::{collections::BTreeMap, sync::Arc};

/// Queries whose scores are in memory at a time: what they do not see is not computed. Fewer leave less for every operation to
/// do than it takes to begin it.
const QUERIES: usize = 256;

/// A forward pass through a block, with what its gradients are computed from.
#[derive(Debug)]
pub struct Tape {
    /// Weights that were used instead of the block's own, f32.
    weights: BTreeMap<Projection, Tensor>,
    hidden: Tensor,
    attention_input: Tensor,
    attention: Attention,
    attended: Tensor,
    between: Tensor,
    mlp_input: Tensor,
    gate: Tensor,
    up: Tensor,
    inner: Tensor,
}

/// What attention made its output of.
#[derive(Debug)]
struct Attention {
    spans: Vec<Span>,
    positions: Arc<Tensor>,
    rope: Arc<Tensor>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

/// The gradients of a loss through a block.
#[derive(Debug)]
pub struct BlockGradients {
    /// By each linear layer's weight, `[out_features, in_features]`.
    pub weights: Vec<(Projection, Tensor)>,
    /// By the hidden states that entered, `[tokens, hidden_size]`.
    pub input: Tensor,
}

impl Llama {
    /// Runs a batch of hidden states through a block with its own weights, or with `others` in their place, and keeps what
    /// [`backward`](Llama::backward) needs. Also returns the hidden states that leave.
    ///
    /// # Errors
    /// A weight of another shape, or a failing device.
    pub fn record(
        &self,
        block: &Block,
        batch: &Batch,
        hidden: Tensor,
        others: &[(Projection, &Tensor)],
    ) -> Result<(Tape, Tensor)> {
        let device = &*self.device;
        let mut weights = BTreeMap::new();
        for &(projection, weight) in others {
            let expected = projection.shape(&self.config);
            if (weight.rows(), weight.cols()) != expected {
                let found = (weight.rows(), weight.cols());
                return Err(ModelError::Candidate { projection: projection.name(), found, expected });
            }
            weights.insert(projection, in_f32(device, weight)?);
        }
        let apply = |projection: Projection, x: &Tensor, onto: Option<&Tensor>| -> Result<Tensor> {
            let linear = block.linear(projection);
            let weight = weights.get(&projection).unwrap_or(&linear.weight);
            let mut y = match onto {
                Some(residual) => in_f32(device, residual)?,
                None => device.zeros(DType::F32, x.rows(), weight.rows())?,
            };
            let onto = if onto.is_some() { Onto::Sum } else { Onto::Nothing };
            let layer = espalier_device::LinearLayer { weight, bias: linear.bias.as_ref(), onto, y: &mut y };
            device.linears(x.into(), &mut [layer])?;
            Ok(y)
        };
        let head_dim = self.config.head_dim;
        let attention_input = self.rms_norm(&hidden, block.norm(LayerInput::Attention))?;
        let mut q = apply(Projection::Query, &attention_input, None)?;
        let mut k = apply(Projection::Key, &attention_input, None)?;
        let v = apply(Projection::Value, &attention_input, None)?;
        for x in [&mut q, &mut k] {
            device.execute(Op::Rope { table: &batch.rope, positions: &batch.positions, head_dim }, x)?;
        }
        let mut attended = device.zeros(DType::F32, q.rows(), q.cols())?;
        let shape = self.attention_shape();
        let spans = batch.spans.clone();
        device.execute(Op::Attention { q: &q, k: &k, v: &v, shape, spans: spans.clone() }, &mut attended)?;
        let between = apply(Projection::Output, &attended, Some(&hidden))?;
        let mlp_input = self.rms_norm(&between, block.norm(LayerInput::Mlp))?;
        let gate = apply(Projection::Gate, &mlp_input, None)?;
        let up = apply(Projection::Up, &mlp_input, None)?;
        let inner = zip(device, Unary::Silu, &gate, Binary::Multiply, &up)?;
        let output = apply(Projection::Down, &inner, Some(&between))?;
        let (positions, rope) = (Arc::clone(&batch.positions), Arc::clone(&batch.rope));
        let tape = Tape {
            weights,
            hidden,
            attention_input,
            attention: Attention { spans, positions, rope, q, k, v },
            attended,
            between,
            mlp_input,
            gate,
            up,
            inner,
        };
        Ok((tape, output))
    }

    /// The gradients of a loss, given its gradient by the hidden states that left the block, `[tokens, hidden_size]`.
    ///
    /// # Errors
    /// A gradient of another shape, or a failing device.
    pub fn backward(&self, block: &Block, tape: Tape, gradient: &Tensor) -> Result<BlockGradients> {
        let device = &*self.device;
        let expected = (tape.hidden.rows(), tape.hidden.cols());
        if (gradient.rows(), gradient.cols()) != expected || gradient.dtype() != DType::F32 {
            let found = (gradient.rows(), gradient.cols());
            return Err(ModelError::Candidate { projection: "gradient", found, expected });
        }
        let mut weights = Vec::with_capacity(Projection::ALL.len());
        // `dx (+)= dy W` of one layer; its own gradient is `dyᵀ x`.
        let mut through = |projection, dy: &Tensor, x: &Tensor, dx: &mut Tensor, beta: f32| -> Result<()> {
            let mut dw = device.zeros(DType::F32, dy.cols(), x.cols())?;
            product(device, 1.0, dy.all().t(), x.all(), 0.0, (0, 0), &mut dw)?;
            weights.push((projection, dw));
            let own = &block.linear(projection).weight;
            let converted;
            let weight = match tape.weights.get(&projection) {
                Some(other) => other,
                None if own.dtype() == DType::F32 => own,
                None => {
                    converted = in_f32(device, own)?;
                    &converted
                }
            };
            Ok(product(device, 1.0, dy.all(), weight.all(), beta, (0, 0), dx)?)
        };
        let zeros = |like: &Tensor| device.zeros(DType::F32, like.rows(), like.cols());

        // Gated MLP. What is not needed again is written over: fresh memory is slow.
        let mut d_gated = zeros(&tape.inner)?;
        through(Projection::Down, gradient, &tape.inner, &mut d_gated, 0.0)?;
        let multiplied = |f, b: &Tensor, out: &mut Tensor| {
            device.execute(Op::Zip { a: &tape.gate, b, f, op: Binary::Multiply, alpha: 1.0 }, out)
        };
        let mut d_up = tape.inner;
        multiplied(Unary::Silu, &d_gated, &mut d_up)?;
        update(device, &mut d_gated, Binary::Multiply, 1.0, &tape.up)?;
        let mut d_gate = tape.up;
        multiplied(Unary::SiluGradient, &d_gated, &mut d_gate)?;
        drop(d_gated);
        let mut d_input = zeros(&tape.mlp_input)?;
        through(Projection::Gate, &d_gate, &tape.mlp_input, &mut d_input, 0.0)?;
        through(Projection::Up, &d_up, &tape.mlp_input, &mut d_input, 1.0)?;
        drop((d_gate, d_up));
        let norm = block.norm(LayerInput::Mlp);
        let d_between = self.norm_gradient(&tape.between, norm, d_input, gradient)?;

        // Self-attention.
        let mut d_attended = zeros(&tape.attended)?;
        through(Projection::Output, &d_between, &tape.attended, &mut d_attended, 0.0)?;
        let (d_q, d_k, d_v) = self.attention_gradient(&tape.attention, tape.attended, &d_attended)?;
        drop(d_attended);
        let mut d_input = zeros(&tape.attention_input)?;
        through(Projection::Query, &d_q, &tape.attention_input, &mut d_input, 0.0)?;
        through(Projection::Key, &d_k, &tape.attention_input, &mut d_input, 1.0)?;
        through(Projection::Value, &d_v, &tape.attention_input, &mut d_input, 1.0)?;
        let norm = block.norm(LayerInput::Attention);
        let input = self.norm_gradient(&tape.hidden, norm, d_input, &d_between)?;
        weights.sort_by_key(|(projection, _)| *projection);
        Ok(BlockGradients { weights, input })
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let mut normed = self.device.zeros(DType::F32, x.rows(), x.cols())?;
        let eps = self.config.rms_norm_eps as f32;
        self.device.execute(Op::RmsNorm { x, weight, eps }, &mut normed)?;
        Ok(normed)
    }

    /// `residual + r z − x r³ mean(z ∘ x)` with `z = w ∘ dy`.
    pub(super) fn norm_gradient(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: Tensor,
        residual: &Tensor,
    ) -> Result<Tensor> {
        let device = &*self.device;
        let (rows, cols) = (x.rows(), x.cols() as f32);
        let weight = in_f32(device, weight)?;
        let mut z = dy;
        update(device, &mut z, Binary::Multiply, 1.0, &weight)?;
        let sum = |f, x: &Tensor| -> Result<Tensor> {
            let mut sums = device.zeros(DType::F32, rows, 1)?;
            device.execute(Op::Reduce { x, f, axis: Axis::EachRow, accumulate: false }, &mut sums)?;
            Ok(sums)
        };
        let map = |f, x: &Tensor, scale, shift| -> Result<Tensor> {
            let mut mapped = device.zeros(DType::F32, x.rows(), x.cols())?;
            device.execute(Op::Map { x, f, scale, shift }, &mut mapped)?;
            Ok(mapped)
        };
        let eps = self.config.rms_norm_eps as f32;
        let mean = map(Unary::Identity, &sum(Reduction::SumSquares, x)?, 1.0 / cols, eps)?;
        let r = map(Unary::Reciprocal, &map(Unary::Sqrt, &mean, 1.0, 0.0)?, 1.0, 0.0)?;
        let mut along = zip(device, Unary::Identity, &z, Binary::Multiply, x)?;
        let products = sum(Reduction::Sum, &along)?;
        // r³ mean(z ∘ x)
        let cubed = zip(device, Unary::Square, &r, Binary::Multiply, &r)?;
        let factor = zip(device, Unary::Identity, &cubed, Binary::Multiply, &products)?;
        let (f, op) = (Unary::Identity, Binary::Multiply);
        device.execute(Op::Zip { a: x, b: &factor, f, op, alpha: 1.0 }, &mut along)?;
        update(device, &mut z, Binary::Multiply, 1.0, &r)?;
        update(device, &mut z, Binary::Add, 1.0, residual)?;
        update(device, &mut z, Binary::Add, -1.0 / cols, &along)?;
        Ok(z)
    }

    /// The gradients by the queries and keys as they were before they were turned, and by the values.
    fn attention_gradient(
        &self,
        tape: &Attention,
        attended: Tensor,
        d_attended: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let device = &*self.device;
        let shape = self.attention_shape();
        let (head_dim, scale) = (shape.head_dim, shape.scale);
        let like = |x: &Tensor| device.zeros(DType::F32, x.rows(), x.cols());
        let (mut d_q, mut d_k, mut d_v) = (like(&tape.q)?, like(&tape.k)?, like(&tape.v)?);
        let d_o_by_o = self.sums_by_head(attended, d_attended)?;
        let parts = tape.spans.iter().flat_map(|span| {
            (0..span.queries)
                .step_by(QUERIES)
                .map(|from| (span.query_start, from, span.queries.min(from + QUERIES)))
        });
        for (first, from, to) in parts {
            // Queries `from..to` of a sequence see the keys before `to`.
            let (queries, keys) = (to - from, to);
            let matrix = || device.zeros(DType::F32, queries, keys);
            let (mut p, mut d_s) = (matrix()?, matrix()?);
            let mut sums = device.zeros(DType::F32, queries, 1)?;
            for head in 0..shape.heads {
                let group = head / (shape.heads / shape.kv_heads);
                let (of_queries, of_keys) = ((first + from, head * head_dim), (first, group * head_dim));
                let seen = |tensor| of_head(tensor, of_keys, (keys, head_dim));
                let asking = |tensor| of_head(tensor, of_queries, (queries, head_dim));
                let (q, k, v) = (asking(&tape.q), seen(&tape.k), seen(&tape.v));
                let d_o = asking(d_attended);
                product(device, 1.0, q, k.t(), 0.0, (0, 0), &mut p)?;
                device.execute(Op::CausalSoftmax { scale, window: shape.window }, &mut p)?;
                // dS = P ∘ (dP − rowsum(P ∘ dP)), where dP was.
                product(device, 1.0, d_o, v.t(), 0.0, (0, 0), &mut d_s)?;
                let from = of_head(&d_o_by_o, (first + from, head), (queries, 1));
                device.execute(Op::Copy { from, to: (0, 0) }, &mut sums)?;
                update(device, &mut d_s, Binary::Subtract, 1.0, &sums)?;
                update(device, &mut d_s, Binary::Multiply, 1.0, &p)?;
                product(device, scale, d_s.all(), k, 0.0, of_queries, &mut d_q)?;
                product(device, scale, d_s.all().t(), q, 1.0, of_keys, &mut d_k)?;
                product(device, 1.0, p.all().t(), d_o, 1.0, of_keys, &mut d_v)?;
            }
        }
        let back = self.turned_back(&tape.rope)?;
        for x in [&mut d_q, &mut d_k] {
            device.execute(Op::Rope { table: &back, positions: &tape.positions, head_dim }, x)?;
        }
        Ok((d_q, d_k, d_v))
    }

    /// What the softmax's gradient takes off its rows, `rowsum(P ∘ dP)`, for every token and head: `[tokens, heads]`. It is
    /// `rowsum(dO ∘ O)` (FlashAttention-2, 2307.08691, section 3.1), which has a head's size in place of all keys to add up.
    fn sums_by_head(&self, attended: Tensor, d_attended: &Tensor) -> Result<Tensor> {
        let device = &*self.device;
        let shape = self.attention_shape();
        let mut of_head = vec![0.0; attended.cols() * shape.heads];
        for (col, row) in of_head.chunks_exact_mut(shape.heads).enumerate() {
            row[col / shape.head_dim] = 1.0;
        }
        let of_head = device.from_f32(attended.cols(), shape.heads, of_head)?;
        let mut products = attended;
        update(device, &mut products, Binary::Multiply, 1.0, d_attended)?;
        let mut sums = device.zeros(DType::F32, products.rows(), shape.heads)?;
        product(device, 1.0, products.all(), of_head.all(), 0.0, (0, 0), &mut sums)?;
        Ok(sums)
    }

    /// A rotary table of the opposite angles.
    fn turned_back(&self, table: &Tensor) -> Result<Tensor> {
        let mut angles = self.device.to_f32(table)?;
        for row in angles.chunks_exact_mut(table.cols()) {
            row[table.cols() / 2..].iter_mut().for_each(|sine| *sine = -*sine);
        }
        Ok(self.device.from_f32(table.rows(), table.cols(), angles)?)
    }
}

/// The rows and columns from a place on.
fn of_head(tensor: &Tensor, (row, col): (usize, usize), (rows, cols): (usize, usize)) -> Operand<'_> {
    Operand { tensor, row, col, rows, cols, transposed: false }
}

/// `out = alpha · a · b + beta · out` on the rectangle at `to`.
fn product(
    device: &dyn Device,
    alpha: f32,
    a: Operand<'_>,
    b: Operand<'_>,
    beta: f32,
    to: (usize, usize),
    out: &mut Tensor,
) -> Result<(), DeviceError> {
    device.execute(Op::Matmul { a, b, alpha, beta, to }, out)
}

/// `f(a) ∘ b`
fn zip(device: &dyn Device, f: Unary, a: &Tensor, op: Binary, b: &Tensor) -> Result<Tensor, DeviceError> {
    let mut out = device.zeros(DType::F32, a.rows(), a.cols())?;
    device.execute(Op::Zip { a, b, f, op, alpha: 1.0 }, &mut out)?;
    Ok(out)
}

/// `x = x ∘ (alpha · b)`, in place.
fn update(
    device: &dyn Device,
    x: &mut Tensor,
    op: Binary,
    alpha: f32,
    b: &Tensor,
) -> Result<(), DeviceError> {
    device.execute(Op::Update { b, f: Unary::Identity, scale: 1.0, op, alpha }, x)
}
