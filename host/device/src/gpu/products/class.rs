//! Products that are tuned as one.

use crate::{Compute, DType, Operand};
use std::fmt;

/// Larger products are tuned as ones of this size: a GPU is then long full.
const MOST_ROWS_LOG2: u32 = 11;
const MOST_COLS_LOG2: u32 = 14;
const MOST_INNER_LOG2: u32 = 12;

/// Products of one kind and of similar size: sizes by their next power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::gpu) struct Class {
    /// The operands.
    pub(in crate::gpu) kind: Kind,
    rows_log2: u32,
    inner_log2: u32,
    cols_log2: u32,
}

/// The operands, as far as kernels are compiled for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::gpu) enum Kind {
    /// Tokens with weights.
    Linear {
        /// The weights' type.
        dtype: DType,
        /// The type that operands are rounded to.
        compute: Compute,
        /// Whether rows start at whole vectors of four elements.
        aligned: bool,
    },
    /// Rectangles.
    Matmul { a: Layout, b: Layout },
}

/// How a rectangle is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::gpu) struct Layout {
    /// Whether the transpose is.
    pub(in crate::gpu) transposed: bool,
    /// Whether its rows start at whole vectors of four elements.
    pub(in crate::gpu) aligned: bool,
}

impl Layout {
    pub(in crate::gpu) fn of(operand: Operand) -> Self {
        let aligned = operand.col.is_multiple_of(4) && operand.tensor.cols().is_multiple_of(4);
        Self { transposed: operand.transposed, aligned }
    }
}

/// The sizes of a product: of tokens with weights the tokens, inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gpu) struct Sizes {
    pub(in crate::gpu) rows: usize,
    pub(in crate::gpu) inner: usize,
    pub(in crate::gpu) cols: usize,
}

impl Sizes {
    /// Floating-point operations.
    pub(in crate::gpu) fn flops(&self) -> f64 {
        2.0 * self.rows as f64 * self.inner as f64 * self.cols as f64
    }
}

impl Class {
    /// The class of a product of tokens with weights.
    pub(in crate::gpu) fn linear(
        dtype: DType,
        compute: Compute,
        tokens: usize,
        inputs: usize,
        outputs: usize,
    ) -> Self {
        let kind = Kind::Linear { dtype, compute, aligned: inputs.is_multiple_of(4) };
        Self::of(kind, tokens, inputs, outputs)
    }

    /// The class of a product of rectangles.
    pub(in crate::gpu) fn matmul(a: Operand, b: Operand) -> Self {
        let ((rows, inner), cols) = (a.shape(), b.shape().1);
        Self::of(Kind::Matmul { a: Layout::of(a), b: Layout::of(b) }, rows, inner, cols)
    }

    fn of(kind: Kind, rows: usize, inner: usize, cols: usize) -> Self {
        let log2 = |size: usize, most| size.max(1).next_power_of_two().ilog2().min(most);
        Self {
            kind,
            rows_log2: log2(rows, MOST_ROWS_LOG2),
            inner_log2: log2(inner, MOST_INNER_LOG2),
            cols_log2: log2(cols, MOST_COLS_LOG2),
        }
    }

    /// The most rows of a product of this class, or as many as it is tuned with.
    pub(in crate::gpu) fn rows(&self) -> usize {
        1 << self.rows_log2
    }

    /// The most columns of a product of this class, or as many as it is tuned with.
    pub(in crate::gpu) fn cols(&self) -> usize {
        1 << self.cols_log2
    }

    /// The problem that candidates are timed on. The number of tiles is the class's or enough to fill a GPU, but there are no
    /// more products to add up than it takes to make a run long compared to its start: at most 2³³ operations, 9 ms
    /// at 1 TFLOP/s.
    pub(in crate::gpu) fn timed(&self) -> Sizes {
        const MOST: f64 = (1_u64 << 33) as f64;
        let mut sizes = Sizes { rows: self.rows(), inner: 1 << self.inner_log2, cols: self.cols().min(4096) };
        while sizes.flops() > MOST && sizes.inner > 16 {
            sizes.inner /= 2;
        }
        Sizes { inner: self.align(sizes.inner), ..sizes }
    }

    /// The sizes that candidates are checked on: several tiles, partly filled at every end.
    pub(in crate::gpu) fn checked(&self) -> Sizes {
        let odd = |log2: u32, most: usize| ((1_usize << log2).min(most) - 1).max(1);
        let inner = (1_usize << self.inner_log2).min(1024);
        Sizes {
            rows: odd(self.rows_log2, 256),
            // Not a multiple of the columns that kernels stage at a time.
            inner: self.align(if inner > 4 { inner - 4 } else { inner }),
            cols: odd(self.cols_log2, 512),
        }
    }

    /// The nearest number of inputs, at most this power of two less some fours, that is of the class. Rectangles may
    /// be of any, because they are cut out of matrices.
    fn align(&self, inner: usize) -> usize {
        match self.kind {
            Kind::Linear { aligned: true, .. } => inner.next_multiple_of(4),
            _ => (inner - usize::from(inner > 2)).max(1),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, rows_log2, inner_log2, cols_log2 } = self;
        let [rows, inner, cols] = [rows_log2, inner_log2, cols_log2].map(|log2| 1_u64 << log2);
        match kind {
            Kind::Linear { dtype, compute, aligned } => {
                write!(f, "linear {dtype} in {compute} {}", alignment(*aligned))?;
            }
            Kind::Matmul { a, b } => write!(f, "matmul {a} by {b}")?,
        }
        write!(f, " {rows}x{inner}x{cols}")
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", alignment(self.aligned), if self.transposed { " transposed" } else { "" })
    }
}

fn alignment(aligned: bool) -> &'static str {
    if aligned { "aligned" } else { "unaligned" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { transposed: false, aligned: true };

    #[test]
    fn sizes_are_of_their_class_and_small_enough() {
        for (rows, inner, cols) in
            [(1, 1, 1), (1, 2, 3), (9, 4096, 11008), (100_000, 14_336, 128_256), (70, 31, 5)]
        {
            let linear = Class::linear(DType::BF16, Compute::F32, rows, inner, cols);
            let matmul = Class::of(Kind::Matmul { a: LAYOUT, b: LAYOUT }, rows, inner, cols);
            for class in [linear, matmul] {
                for sizes in [class.timed(), class.checked()] {
                    if class == linear {
                        assert_eq!(sizes.inner % 4 == 0, inner % 4 == 0, "{class}: {sizes:?}");
                    }
                    assert!(sizes.rows > 0 && sizes.inner > 0 && sizes.cols > 0, "{class}: {sizes:?}");
                    assert!(sizes.flops() <= 9e9, "{class}: {sizes:?}");
                }
                assert!(class.checked().flops() < 3e8, "{class}");
            }
        }
    }

    #[test]
    fn similar_products_are_one_class() {
        let class = |tokens| Class::linear(DType::F16, Compute::F32, tokens, 4096, 4096);
        assert_eq!(class(1025), class(2048));
        assert_eq!(class(2048), class(1 << 20));
        assert_ne!(class(1024), class(1025));
        assert_ne!(class(64), Class::linear(DType::BF16, Compute::F32, 64, 4096, 4096));
        assert_ne!(class(64), Class::linear(DType::F16, Compute::F32, 64, 4095, 4096));
        assert_ne!(class(64), Class::linear(DType::F16, Compute::F16, 64, 4096, 4096));
        assert_eq!(class(1025).to_string(), "linear f16 in f32 aligned 2048x4096x4096");
    }

    #[test]
    fn rectangles_stored_otherwise_are_another_class() {
        let transposed = Layout { transposed: true, aligned: false };
        let class = |a, b| Class::of(Kind::Matmul { a, b }, 300, 64, 33);
        assert_ne!(class(LAYOUT, transposed), class(transposed, LAYOUT));
        assert_eq!(class(transposed, LAYOUT).to_string(), "matmul unaligned transposed by aligned 512x64x64");
    }
}
