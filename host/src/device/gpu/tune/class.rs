//! Products that are tuned as one.

use crate::device::{Compute, DType};
use std::fmt;

/// Larger products are tuned as ones of this size: a GPU is then long full.
const MOST_TOKENS_LOG2: u32 = 11;
const MOST_OUTPUTS_LOG2: u32 = 14;
const MOST_INPUTS_LOG2: u32 = 12;

/// Products of similar size and the same weight type: sizes by their next power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct Class {
    /// The weights' type.
    pub(super) dtype: DType,
    /// What operands are rounded to.
    pub(super) compute: Compute,
    /// Whether rows start at whole vectors of four elements.
    pub(super) aligned: bool,
    tokens_log2: u32,
    inputs_log2: u32,
    outputs_log2: u32,
}

/// The sizes of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) tokens: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Sizes {
    /// Floating-point operations.
    pub(super) fn flops(&self) -> f64 {
        2.0 * self.tokens as f64 * self.inputs as f64 * self.outputs as f64
    }
}

impl Class {
    pub(in super::super) fn of(
        dtype: DType,
        compute: Compute,
        tokens: usize,
        inputs: usize,
        outputs: usize,
    ) -> Self {
        let log2 = |size: usize, most| size.max(1).next_power_of_two().ilog2().min(most);
        Self {
            dtype,
            compute,
            aligned: inputs.is_multiple_of(4),
            tokens_log2: log2(tokens, MOST_TOKENS_LOG2),
            inputs_log2: log2(inputs, MOST_INPUTS_LOG2),
            outputs_log2: log2(outputs, MOST_OUTPUTS_LOG2),
        }
    }

    /// The most tokens of a product of this class, or as many as it is tuned with.
    pub(super) fn tokens(&self) -> usize {
        1 << self.tokens_log2
    }

    /// The most outputs of a product of this class, or as many as it is tuned with.
    pub(super) fn outputs(&self) -> usize {
        1 << self.outputs_log2
    }

    /// What candidates are timed on. The number of tiles is the class's or enough to fill a GPU, but of inputs
    /// there are no more than it takes to make a run long compared to its start: at most 2³³ operations, 9 ms at
    /// 1 TFLOP/s.
    pub(super) fn timed(&self) -> Sizes {
        const MOST: f64 = (1_u64 << 33) as f64;
        let outputs = self.outputs().min(4096);
        let mut sizes = Sizes { tokens: self.tokens(), inputs: 1 << self.inputs_log2, outputs };
        while sizes.flops() > MOST && sizes.inputs > 16 {
            sizes.inputs /= 2;
        }
        Sizes { inputs: self.align(sizes.inputs), ..sizes }
    }

    /// What candidates are checked on: tiles that are not full at every end, and more than one of them.
    pub(super) fn checked(&self) -> Sizes {
        let odd = |log2: u32, most: usize| ((1_usize << log2).min(most) - 1).max(1);
        let inputs = (1_usize << self.inputs_log2).min(1024);
        Sizes {
            tokens: odd(self.tokens_log2, 256),
            // Not a multiple of the columns that kernels stage at a time.
            inputs: self.align(if inputs > 4 { inputs - 4 } else { inputs }),
            outputs: odd(self.outputs_log2, 512),
        }
    }

    /// The nearest number of inputs, at most this power of two less some fours, that is of the class.
    fn align(&self, inputs: usize) -> usize {
        if self.aligned { inputs.next_multiple_of(4) } else { (inputs - usize::from(inputs > 2)).max(1) }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dtype, compute, aligned, tokens_log2, inputs_log2, outputs_log2 } = self;
        let aligned = if *aligned { "aligned" } else { "unaligned" };
        let [tokens, inputs, outputs] = [tokens_log2, inputs_log2, outputs_log2].map(|log2| 1_u64 << log2);
        write!(f, "{dtype} in {compute} {aligned} {tokens}x{inputs}x{outputs}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_of_their_class_and_small_enough() {
        for (tokens, inputs, outputs) in
            [(1, 1, 1), (1, 2, 3), (9, 4096, 11008), (100_000, 14_336, 128_256), (70, 31, 5)]
        {
            let class = Class::of(DType::BF16, Compute::F32, tokens, inputs, outputs);
            for sizes in [class.timed(), class.checked()] {
                assert_eq!(sizes.inputs % 4 == 0, inputs % 4 == 0, "{class}: {sizes:?}");
                assert!(sizes.tokens > 0 && sizes.inputs > 0 && sizes.outputs > 0, "{class}: {sizes:?}");
                assert!(sizes.flops() <= 9e9, "{class}: {sizes:?}");
            }
            assert!(class.checked().flops() < 3e8, "{class}");
        }
    }

    #[test]
    fn similar_products_are_one_class() {
        let class = |tokens| Class::of(DType::F16, Compute::F32, tokens, 4096, 4096);
        assert_eq!(class(1025), class(2048));
        assert_eq!(class(2048), class(1 << 20));
        assert_ne!(class(1024), class(1025));
        assert_ne!(class(64), Class::of(DType::BF16, Compute::F32, 64, 4096, 4096));
        assert_ne!(class(64), Class::of(DType::F16, Compute::F32, 64, 4095, 4096));
        assert_ne!(class(64), Class::of(DType::F16, Compute::F16, 64, 4096, 4096));
        assert_eq!(class(1025).to_string(), "f16 in f32 aligned 2048x4096x4096");
    }
}
