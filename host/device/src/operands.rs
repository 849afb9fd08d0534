//! Operands of operations other than plain tensors.

use super::Tensor;
use std::ops::Range;

/// The input of linear layers: rows as they are, or normalised on the way.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[tokens, in]`, f32
    pub x: &'a Tensor,
    /// The normalisation of each row.
    pub norm: Option<Norm<'a>>,
}

/// [`Op::RmsNorm`](super::Op::RmsNorm), to be computed where its result is read.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// `[1, cols]` in any floating-point type
    pub weight: &'a Tensor,
    /// The epsilon that is added to the mean of squares.
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
    /// The destination of the product.
    pub onto: Onto<'a>,
    /// `[tokens, out]`, f32
    pub y: &'a mut Tensor,
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
        /// `[out, in]` in any floating-point type
        weight: &'a Tensor,
        /// `[1, out]` in any floating-point type
        bias: Option<&'a Tensor>,
    },
}

/// Scores of a tensor.
pub type Scores<'a> = espalier_ops::Scores<&'a Tensor>;

/// A rectangle of a tensor, or its transpose, as an operand.
pub type Operand<'a> = espalier_ops::Block<&'a Tensor>;

impl Tensor {
    /// All of it, as an operand.
    pub fn all(&self) -> Operand<'_> {
        Operand::whole(self)
    }

    /// These rows and columns, as an operand.
    pub fn block(&self, rows: Range<usize>, cols: Range<usize>) -> Operand<'_> {
        Operand {
            tensor: self,
            row: rows.start,
            col: cols.start,
            rows: rows.len(),
            cols: cols.len(),
            transposed: false,
        }
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
