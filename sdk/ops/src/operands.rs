//! Operands of operations other than plain tensors.

use crate::{Binary, DType, Unary};

/// A row-major matrix, as far as operations are checked and counted: its element type and its shape.
pub trait Matrix {
    /// The element type.
    fn dtype(&self) -> DType;

    /// Rows.
    fn rows(&self) -> usize;

    /// Columns.
    fn cols(&self) -> usize;
}

impl<M: Matrix + ?Sized> Matrix for &M {
    fn dtype(&self) -> DType {
        (**self).dtype()
    }

    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn cols(&self) -> usize {
        (**self).cols()
    }
}

/// Scores: the elements `f(a)` of a matrix, or `f(a) ∘ row`, computed while they are ranked, so that no matrix of
/// scores is ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scores<T> {
    /// The function of each element.
    pub f: Unary,
    /// The matrix.
    pub a: T,
    /// The row `[1, cols]` that `f(a)` is combined with, and how.
    pub by: Option<(Binary, T)>,
}

impl<T> Scores<T> {
    /// `f(a)`, element by element.
    pub fn of(f: Unary, a: T) -> Self {
        Self { f, a, by: None }
    }

    /// `f(a) ∘ row`, with one number for every column: row is `[1, cols]`.
    #[must_use]
    pub fn by(self, op: Binary, row: T) -> Self {
        Self { by: Some((op, row)), ..self }
    }

    /// The same scores of other tensors, such as their ids.
    pub fn map<U>(self, mut tensor: impl FnMut(T) -> U) -> Scores<U> {
        Scores { f: self.f, a: tensor(self.a), by: self.by.map(|(op, row)| (op, tensor(row))) }
    }
}

impl<T> From<T> for Scores<T> {
    fn from(a: T) -> Self {
        Self::of(Unary::Identity, a)
    }
}

/// A rectangle of a matrix, or its transpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<T> {
    /// The matrix.
    pub tensor: T,
    /// The rectangle's first row.
    pub row: usize,
    /// The rectangle's first column.
    pub col: usize,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// Whether its transpose is the operand.
    pub transposed: bool,
}

impl<T> Block<T> {
    /// Rows and columns, after transposing.
    pub fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.cols, self.rows) } else { (self.rows, self.cols) }
    }

    /// The rectangle's transpose.
    #[must_use]
    pub fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

impl<T: Matrix> Block<T> {
    /// A whole matrix.
    pub fn whole(tensor: T) -> Self {
        let (rows, cols) = (tensor.rows(), tensor.cols());
        Self { tensor, row: 0, col: 0, rows, cols, transposed: false }
    }
}

/// The heads of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// The factor of the scores, `1/√head_dim` as a rule.
    pub scale: f32,
    /// How many of the last keys a query sees, itself included (Mistral's sliding window).
    pub window: Option<usize>,
}

/// One sequence of a batch: its queries are the last `queries` positions of its `keys` positions.
///
/// A batch is the concatenation of its sequences without padding: row `query_start + i` of the query
/// matrix is the sequence's position `keys - queries + i`, row `key_start + j` of the key and value
/// matrices its position `j`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first row of the queries.
    pub query_start: usize,
    /// Rows of queries.
    pub queries: usize,
    /// The first row of the keys and values.
    pub key_start: usize,
    /// Rows of keys and values, at least `queries`.
    pub keys: usize,
}
