//! Looking at weights: dense ones before they are used, pruned ones before they are written.

use super::{PruneError, Result};
use espalier_device::DType;
use espalier_model::{Llama, ModelError, checkpoint::TensorView, layout};
use espalier_sdk::Sparsity;
use rayon::prelude::*;

/// How far the sparsity of a layer may be below its target, beside one weight of each row or column.
const TOLERANCE: f64 = 0.005;

/// From how far above its target the sparsity of a layer is remarked on.
const REMARKED: f64 = 0.01;

/// Refuses a block that has a weight that is NaN or infinite, before anything is computed with it.
///
/// # Errors
/// [`PruneError::NotFinite`], or a tensor that cannot be read.
pub(super) fn check_block(model: &Llama, block: usize) -> Result<()> {
    layout::block(&model.config, block).iter().try_for_each(|(name, _)| check_tensor(model, name))
}

/// As [`check_block`], of the token embeddings.
pub(super) fn check_embedding(model: &Llama) -> Result<()> {
    check_tensor(model, model.checkpoint.embedding(&model.config))
}

fn check_tensor(model: &Llama, name: &str) -> Result<()> {
    let view = model.checkpoint.tensor(name).map_err(ModelError::from)?;
    match not_finite(&view) {
        None => Ok(()),
        Some((row, col, value)) => Err(PruneError::NotFinite { layer: name.to_owned(), row, col, value }),
    }
}

/// The row and column of a tensor's first value that is NaN or infinite, and which of the two it is.
pub(crate) fn not_finite(view: &TensorView) -> Option<(usize, usize, &'static str)> {
    let cols = view.shape.last().copied().unwrap_or(1).max(1);
    let format = Format::of(view.dtype);
    let chunk = cols * format.size;
    let fault = view.bytes.par_chunks(chunk).enumerate().find_map_first(|(row, line)| {
        let col = line.chunks_exact(format.size).position(|word| format.is_not_finite(format.bits(word)))?;
        Some((row, col, format.bits(&line[col * format.size..][..format.size])))
    });
    fault.map(|(row, col, bits)| (row, col, if format.is_infinite(bits) { "infinite" } else { "NaN" }))
}

/// The zeros of a tensor, of either sign.
pub(crate) fn zeros(view: &TensorView) -> usize {
    let format = Format::of(view.dtype);
    let count = |line: &[u8]| line.chunks_exact(format.size).filter(|word| format.bits(word) == 0).count();
    view.bytes.par_chunks(1 << 16).map(count).sum()
}

/// Counts the zeros of a pruned weight, makes them all positive, and refuses what is not a number.
pub(super) fn clean(dtype: DType, bytes: &mut [u8], cols: usize) -> Result<usize, String> {
    let format = Format::of(dtype);
    let rows = bytes.par_chunks_mut(cols * format.size).enumerate().map(|(row, line)| {
        let mut zeros = 0;
        for (col, element) in line.chunks_exact_mut(format.size).enumerate() {
            let bits = format.bits(element);
            if bits == 0 {
                element.fill(0);
                zeros += 1;
            } else if format.is_not_finite(bits) {
                let what =
                    if format.is_infinite(bits) { format!("overflows {dtype}") } else { "is NaN".to_owned() };
                return Err(format!("the entry at row {row}, column {col} {what}"));
            }
        }
        Ok(zeros)
    });
    rows.try_reduce(|| 0, |a, b| Ok(a + b))
}

/// A layer's numbers: its weight `[rows, cols]`, and the rank of the low-rank part that is added to it, or 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) rank: usize,
}

/// Compares what a method reached in a layer with what was asked of it: `zeros` in these bytes. Where more is pruned than
/// was asked, this gives a remark, unless as many were there `before`, which is asked for only then. Numbers of a low-rank part
/// count as kept weights where the target is a ratio.
///
/// # Errors
/// Too little is pruned, or everything.
pub(crate) fn compare(
    target: Sparsity,
    dtype: DType,
    bytes: &[u8],
    Sizes { rows, cols, rank }: Sizes,
    zeros: usize,
    before: impl FnOnce() -> usize,
) -> Result<Option<String>, String> {
    let format = Format::of(dtype);
    let is_zero = |word: &[u8]| format.bits(word) == 0;
    let all = rows * cols;
    let added = if matches!(target, Sparsity::Pattern { .. }) { 0 } else { rank * (rows + cols) };
    let reached = zeros.saturating_sub(added) as f64 / all as f64;
    let asked = target.ratio();
    if let Sparsity::Pattern { n, m } = target {
        let short = bytes.par_chunks(cols * format.size).enumerate().find_map_first(|(row, line)| {
            let groups = line.chunks_exact(m * format.size);
            let zeros = |group: &[u8]| group.chunks_exact(format.size).filter(|x| is_zero(x)).count();
            let group = groups.map(zeros).position(|zeros| zeros < n)?;
            Some((row, group * m))
        });
        if let Some((row, col)) = short {
            return Err(format!(
                "the {m} weights from row {row}, column {col} have fewer than {n} zeros, but the target is {target}"
            ));
        }
    }
    if reached < asked - TOLERANCE - 1.0 / rows.min(cols) as f64 {
        let counted = match added {
            0 => String::new(),
            added => format!(" (the {added} numbers of its low-rank part count as kept)"),
        };
        return Err(format!("its sparsity is {reached:.4}{counted}, but the target is {target}"));
    }
    if reached <= asked + REMARKED || zeros <= before() {
        return Ok(None);
    }
    if zeros == all {
        return Err(format!("all its weights are 0, but the target is sparsity {target}"));
    }
    Ok(Some(format!("sparsity {reached:.4} is more than the target {target}")))
}

/// A remark where rows have another number of zeros than they should.
pub(crate) fn compare_rows(dtype: DType, bytes: &[u8], counts: &[usize]) -> Option<String> {
    let format = Format::of(dtype);
    let rows = bytes.par_chunks((bytes.len() / counts.len().max(1)).max(1)).zip(counts);
    let others = rows.filter(|(row, count)| {
        let zeros = row.chunks_exact(format.size).filter(|word| format.bits(word) == 0).count();
        zeros != **count
    });
    let others = others.count();
    (others > 0).then(|| format!("{others} of {} rows were not pruned to their own counts", counts.len()))
}

/// The bits of an element type.
#[derive(Clone, Copy)]
struct Format {
    size: usize,
    /// The exponent's bits: all set in what is NaN or infinite.
    exponent: u32,
}

impl Format {
    fn of(dtype: DType) -> Self {
        match dtype {
            DType::F32 | DType::U32 => Self { size: 4, exponent: 0x7f80_0000 },
            DType::F16 => Self { size: 2, exponent: 0x7c00 },
            DType::BF16 => Self { size: 2, exponent: 0x7f80 },
        }
    }

    /// The bits of an element without its sign.
    fn bits(self, element: &[u8]) -> u32 {
        let bits = match *element {
            [a, b] => u32::from(u16::from_le_bytes([a, b])),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        };
        bits & !(1 << (8 * self.size - 1))
    }

    fn is_not_finite(self, bits: u32) -> bool {
        bits & self.exponent == self.exponent
    }

    fn is_infinite(self, bits: u32) -> bool {
        bits == self.exponent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn zeros_are_counted_and_made_positive() {
        let mut bytes = f32s(&[1.0, -0.0, 0.0, -2.0]);
        assert_eq!(clean(DType::F32, &mut bytes, 2), Ok(2));
        assert_eq!(bytes[4..8], [0; 4]);
        let mut bytes: Vec<u8> =
            [0x8000u16, 0x3f80, 0x0000, 0xbf80].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(clean(DType::BF16, &mut bytes, 4), Ok(2));
        assert_eq!(bytes[..2], [0; 2]);
    }

    #[test]
    fn what_is_not_a_number_is_named() {
        let mut bytes = f32s(&[1.0, 0.0, 0.0, f32::INFINITY]);
        assert!(clean(DType::F32, &mut bytes, 2).unwrap_err().contains("row 1, column 1 overflows f32"));
        let mut bytes = 0xfc00u16.to_le_bytes().to_vec();
        assert!(clean(DType::F16, &mut bytes, 1).unwrap_err().ends_with("overflows f16"));
        let mut bytes = 0x7c01u16.to_le_bytes().to_vec();
        assert!(clean(DType::F16, &mut bytes, 1).unwrap_err().ends_with("is NaN"));
    }

    #[test]
    fn what_a_method_reached_is_compared_with_its_target() {
        let half = Sparsity::Ratio(0.5);
        let pattern = Sparsity::Pattern { n: 2, m: 4 };
        let row = |zeros: usize| -> Vec<u8> {
            f32s(&(0..400).map(|at| if at % 400 < zeros { 0.0 } else { 1.0 }).collect::<Vec<_>>())
        };
        let compare = |target, bytes: &[u8], before| {
            let zeros = bytes.chunks_exact(4).filter(|word| **word == [0; 4]).count();
            let sizes = Sizes { rows: 20, cols: 20, rank: 0 };
            super::compare(target, DType::F32, bytes, sizes, zeros, || before)
        };
        assert_eq!(compare(half, &row(200), 0), Ok(None));
        // One weight of each row less, as where 0.5 of an odd number of columns is rounded down.
        assert_eq!(compare(half, &row(180), 0), Ok(None));
        assert!(compare(half, &row(170), 0).unwrap_err().contains("0.4250"));
        assert!(compare(half, &row(0), 0).unwrap_err().contains("0.0000"));
        assert!(compare(half, &row(400), 0).unwrap_err().contains("all its weights are 0"));
        assert_eq!(compare(half, &row(400), 400), Ok(None));
        assert!(compare(half, &row(300), 0).unwrap().unwrap().contains("0.7500"));
        // It had that many before.
        assert_eq!(compare(half, &row(300), 300), Ok(None));
        assert!(compare(pattern, &row(200), 0).unwrap_err().contains("row 10, column 0"));
        // 300 zeros, and 2 · 40 numbers of a low-rank part: 220 fewer in all.
        let sizes = Sizes { rows: 20, cols: 20, rank: 2 };
        let with_rank = |target| super::compare(target, DType::F32, &row(300), sizes, 300, || 0);
        assert_eq!(with_rank(Sparsity::Ratio(0.55)), Ok(None));
        assert!(with_rank(Sparsity::Ratio(0.7)).unwrap_err().contains("0.5500"));
        let alternating = f32s(&(0..400).map(|at| (at % 2) as f32).collect::<Vec<_>>());
        assert_eq!(compare(pattern, &alternating, 0), Ok(None));
    }
}
