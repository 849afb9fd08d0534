//! The cost of an operation.

use crate::{AttentionShape, Block, Matrix, Op, Span};

/// Floating-point operations, and bytes that are read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Work {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes.
    pub bytes: f64,
}

fn elements(x: &impl Matrix) -> f64 {
    x.rows() as f64 * x.cols() as f64
}

fn bytes(x: &impl Matrix) -> f64 {
    elements(x) * x.dtype().size() as f64
}

fn block_bytes<T: Matrix>(block: &Block<T>) -> f64 {
    block.rows as f64 * block.cols as f64 * block.tensor.dtype().size() as f64
}

/// `n³ / 3` of a square matrix.
fn cubic(x: &impl Matrix) -> f64 {
    (x.rows() as f64).powi(3) / 3.0
}

/// Scores and mixtures of every query with the keys that it sees.
fn attention(shape: &AttentionShape, spans: &[Span]) -> f64 {
    let pairs = spans.iter().map(|span| {
        let (queries, keys) = (span.queries as f64, span.keys as f64);
        let seen = keys - (queries - 1.0) / 2.0;
        queries * shape.window.map_or(seen, |window| seen.min(window as f64))
    });
    4.0 * (shape.heads * shape.head_dim) as f64 * pairs.sum::<f64>()
}

impl<T: Matrix + Copy> Op<T> {
    /// The operation's cost. Where nothing else is known, every input is read and the output is written once.
    pub fn work(&self, out: &impl Matrix) -> Work {
        let all = || self.pack().tensors.iter().map(bytes).sum::<f64>() + bytes(out);
        let (flops, bytes) = match self {
            Self::Convert { .. }
            | Self::Select { .. }
            | Self::ZeroWhere { .. }
            | Self::KthSmallest { .. }
            | Self::AtMost { .. }
            | Self::SelectCounts { .. }
            | Self::Transpose { .. } => (0.0, all()),
            Self::CopyRows { .. } | Self::Reverse {} | Self::Diagonal { .. } => (0.0, 2.0 * bytes(out)),
            Self::ScatterRows { x, .. } => (0.0, 2.0 * bytes(x)),
            Self::Copy { from, .. } => (0.0, 2.0 * block_bytes(from)),
            Self::RmsNorm { x, .. } => (4.0 * elements(x), all()),
            Self::Rope { .. } => (3.0 * elements(out), all()),
            Self::Attention { shape, spans, .. } => (attention(shape, spans), all()),
            Self::CausalSoftmax { .. } => (4.0 * elements(out), 2.0 * bytes(out)),
            Self::CrossEntropy { logits, .. } => (3.0 * elements(logits), all()),
            Self::CrossEntropyGradient { logits, .. } => (5.0 * elements(logits), all()),
            Self::JsDivergence { a, .. } => (10.0 * elements(a), all()),
            Self::Map { x, .. } | Self::Reduce { x, .. } | Self::Zip { a: x, .. } => {
                (2.0 * elements(x), all())
            }
            // One half and the diagonal.
            Self::Gram { x } => (elements(x) * (x.cols() + 1) as f64, all()),
            Self::Matmul { a, b, .. } => {
                let ((rows, inner), (_, cols)) = (a.shape(), b.shape());
                let product = 4.0 * rows as f64 * cols as f64;
                let flops = 2.0 * (rows * inner) as f64 * cols as f64;
                (flops, block_bytes(a) + block_bytes(b) + 2.0 * product)
            }
            Self::Update { .. } => (elements(out), 3.0 * bytes(out)),
            Self::AddDiagonal { d } => (elements(d), 3.0 * bytes(d)),
            Self::Cholesky {} | Self::TriangularInverse {} => (cubic(out), 2.0 * bytes(out)),
            Self::SymmetricEigen { x } => (27.0 * cubic(x), all()),
            Self::TriangularSolve { l, .. } => (elements(out) * l.rows() as f64, all()),
        };
        Work { flops, bytes }
    }
}
