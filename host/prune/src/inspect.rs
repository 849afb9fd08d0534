//! How sparse a model is, tensor by tensor.

use espalier_model::{Checkpoint, LlamaConfig, Result, layout::Projection};
use espalier_sdk::DType;
use rayon::prelude::*;
use serde::Serialize;

/// Patterns that are looked for, as (N, M): at least N zeros among every M neighbours in a row.
const PATTERNS: [(usize, usize); 6] = [(1, 2), (2, 4), (4, 8), (8, 16), (1, 4), (16, 32)];

/// The sparsity of a model's linear layers.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Weights of all linear layers.
    pub weights: usize,
    /// Zeros among them.
    pub zeros: usize,
    /// Their share.
    pub sparsity: f64,
    /// N:M patterns that hold in every linear layer.
    pub patterns: Vec<String>,
    /// Every linear layer.
    pub tensors: Vec<TensorInspection>,
}

/// The sparsity of one linear layer.
#[derive(Debug, Clone, Serialize)]
pub struct TensorInspection {
    /// The weight's name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// `[out_features, in_features]`
    pub shape: [usize; 2],
    /// Zeros, of either sign.
    pub zeros: usize,
    /// Zeros that are −0.
    pub negative_zeros: usize,
    /// The share of zeros.
    pub sparsity: f64,
    /// N:M patterns that hold: at least N zeros among every M neighbours in a row.
    pub patterns: Vec<String>,
    /// The rank of the low-rank part that is added to the weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
}

/// Looks at every linear layer of a model.
///
/// # Errors
/// The checkpoint is broken.
pub fn inspect(checkpoint: &Checkpoint, config: &LlamaConfig) -> Result<Inspection> {
    let mut tensors = Vec::new();
    for block in 0..config.num_hidden_layers {
        for projection in Projection::ALL {
            let name = projection.weight(block);
            let (rows, cols) = projection.shape(config);
            let view = checkpoint.expect(&name, rows, cols)?;
            let rank = checkpoint.low_rank(&name)?.and_then(|(left, _)| left.shape.get(1).copied());
            tensors.push(TensorInspection { rank, ..look(&name, view.dtype, [rows, cols], &view.bytes) });
            checkpoint.release(&name);
        }
    }
    let weights = tensors.iter().map(|tensor| tensor.shape[0] * tensor.shape[1]).sum();
    let zeros = tensors.iter().map(|tensor| tensor.zeros).sum();
    let holds = |pattern: &String| tensors.iter().all(|tensor| tensor.patterns.contains(pattern));
    let patterns = PATTERNS.map(|(n, m)| format!("{n}:{m}")).into_iter().filter(holds).collect();
    Ok(Inspection { weights, zeros, sparsity: zeros as f64 / weights as f64, patterns, tensors })
}

/// The number that a row adds to the count.
#[derive(Clone, Copy)]
struct Count {
    zeros: usize,
    negative: usize,
    holds: [bool; PATTERNS.len()],
}

impl Count {
    fn and(mut self, other: Self) -> Self {
        self.zeros += other.zeros;
        self.negative += other.negative;
        self.holds.iter_mut().zip(other.holds).for_each(|(mine, theirs)| *mine &= theirs);
        self
    }
}

fn look(name: &str, dtype: DType, shape: [usize; 2], bytes: &[u8]) -> TensorInspection {
    let [rows, cols] = shape;
    let empty = Count { zeros: 0, negative: 0, holds: PATTERNS.map(|(_, m)| cols.is_multiple_of(m)) };
    let count = bytes
        .par_chunks_exact(cols * dtype.size())
        .map(|row| count_row(row, dtype.size(), empty))
        .reduce(|| empty, Count::and);
    let patterns = PATTERNS.iter().zip(count.holds).filter(|(_, holds)| *holds && rows > 0);
    TensorInspection {
        name: name.to_owned(),
        dtype,
        shape,
        zeros: count.zeros,
        negative_zeros: count.negative,
        sparsity: count.zeros as f64 / (rows * cols) as f64,
        patterns: patterns.map(|((n, m), _)| format!("{n}:{m}")).collect(),
        rank: None,
    }
}

fn count_row(row: &[u8], size: usize, mut count: Count) -> Count {
    let zero: Vec<bool> = row
        .chunks_exact(size)
        .map(|element| {
            // Little-endian: the sign is the top bit of the last byte.
            let (last, rest) = (element[size - 1], &element[..size - 1]);
            let zero = last & 0x7f == 0 && rest.iter().all(|&byte| byte == 0);
            count.negative += usize::from(zero && last != 0);
            zero
        })
        .collect();
    count.zeros = zero.iter().filter(|&&zero| zero).count();
    for (holds, (n, m)) in count.holds.iter_mut().zip(PATTERNS) {
        *holds = *holds && zero.chunks(m).all(|group| group.iter().filter(|&&zero| zero).count() >= n);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(values: &[f32], cols: usize) -> TensorInspection {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        look("w", DType::F32, [values.len() / cols, cols], &bytes)
    }

    #[test]
    fn zeros_and_patterns_are_found() {
        let found = looked(&[0.0, 1.0, 2.0, -0.0, 0.0, 0.0, 3.0, 4.0], 4);
        assert_eq!((found.zeros, found.negative_zeros, found.sparsity), (4, 1, 0.5));
        assert_eq!(found.patterns, ["2:4", "1:4"]);
        let found = looked(&[0.0, 1.0, 2.0, 0.0, 0.0, 1.0, 3.0, 4.0], 4);
        assert_eq!(found.patterns, ["1:4"]);
    }

    #[test]
    fn columns_that_do_not_divide_have_no_pattern() {
        assert!(looked(&[0.0; 9], 3).patterns.is_empty());
    }
}
