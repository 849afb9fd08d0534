//! What operations are given that is more than a tensor.

use super::{Binary, Tensor, Unary};
use std::ops::Range;

/// What linear layers read: rows as they are, or normalised on the way.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[tokens, in]`, f32
    pub x: &'a Tensor,
    /// What each row goes through first.
    pub norm: Option<Norm<'a>>,
}

/// [`Device::rms_norm`](super::Device::rms_norm), to be computed where its result is read.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// `[1, cols]` in any floating-point type
    pub weight: &'a Tensor,
    /// What is added to the mean of squares.
    pub eps: f32,
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Self { x, norm: None }
    }
}

/// A linear layer, and where its product goes.
#[derive(Debug)]
pub struct LinearLayer<'a> {
    /// `[out, in]` in any floating-point type
    pub weight: &'a Tensor,
    /// `[1, out]` in any floating-point type
    pub bias: Option<&'a Tensor>,
    /// What the product goes onto.
    pub onto: Onto<'a>,
    /// `[tokens, out]`, f32
    pub y: &'a mut Tensor,
}

/// What a product goes onto.
#[derive(Debug, Clone, Copy)]
pub enum Onto<'a> {
    /// Nothing: y is written over.
    Nothing,
    /// y, which it is added to.
    Sum,
    /// A gate: `y = silu(x · gateᵀ) · (x · wᵀ)` (SwiGLU; Shazeer, 2002.05202).
    Gate {
        /// `[out, in]` in any floating-point type
        weight: &'a Tensor,
        /// `[1, out]` in any floating-point type
        bias: Option<&'a Tensor>,
    },
}

/// Scores `f(a)` or `f(a) ∘ by`, computed as they are ranked: by is `[1, cols]`.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// What is done to each element.
    pub f: Unary,
    /// The matrix.
    pub a: &'a Tensor,
    /// What it is combined with.
    pub by: Option<(Binary, &'a Tensor)>,
}

impl<'a> From<&'a Tensor> for Scores<'a> {
    fn from(scores: &'a Tensor) -> Self {
        Self { f: Unary::Identity, a: scores, by: None }
    }
}

/// A rectangle of a matrix, or its transpose, as an operand.
#[derive(Debug, Clone)]
pub struct Operand<'a> {
    /// The matrix.
    pub tensor: &'a Tensor,
    /// The rectangle's rows.
    pub rows: Range<usize>,
    /// The rectangle's columns.
    pub cols: Range<usize>,
    /// Whether its transpose is the operand.
    pub transposed: bool,
}

impl Tensor {
    /// All of it, as an operand.
    pub fn all(&self) -> Operand<'_> {
        Operand { tensor: self, rows: 0..self.rows(), cols: 0..self.cols(), transposed: false }
    }
}

impl Operand<'_> {
    /// The operand's rows and columns, after transposing.
    pub fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.cols.len(), self.rows.len()) } else { (self.rows.len(), self.cols.len()) }
    }
}

/// A tensor bound to a plugin's kernel.
#[derive(Debug)]
pub enum Binding<'a> {
    /// To be read.
    Read(&'a Tensor),
    /// To be written.
    Write(&'a mut Tensor),
}
