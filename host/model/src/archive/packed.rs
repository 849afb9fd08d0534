//! One packed tensor.

use crate::checkpoint::{Entry, float};
use espalier_device::packing::{count_kept, mask_bytes, split_row};
use espalier_sdk::DType;
use rayon::prelude::*;
use safetensors::Dtype;
use std::ops::Range;

/// Where a packed tensor's parts are in its archive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PackedEntry {
    /// Its type as a whole.
    pub(crate) dtype: Dtype,
    /// Its shape as a whole.
    pub(crate) shape: Vec<usize>,
    /// The elements that are kept.
    pub(crate) values: Range<usize>,
    /// A bit for every element.
    pub(crate) mask: Range<usize>,
    /// Where each row begins.
    pub(crate) offsets: Range<usize>,
}

impl PackedEntry {
    /// The ranges of its parts.
    pub(crate) fn parts(&self) -> [Range<usize>; 3] {
        [self.values.clone(), self.mask.clone(), self.offsets.clone()]
    }

    /// The bytes of all elements.
    pub(crate) fn dense_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// The type of a matrix that could be packed.
pub(super) fn packable(entry: &Entry) -> Option<(DType, [usize; 2])> {
    let shape: [usize; 2] = entry.shape.as_slice().try_into().ok()?;
    Some((float(entry.dtype)?, shape))
}

/// How many elements of each of these rows are not +0.
pub(super) fn count(dtype: DType, cols: usize, bytes: &[u8]) -> Vec<usize> {
    let row_bytes = cols * dtype.size();
    if row_bytes == 0 {
        return Vec::new();
    }
    let rows = bytes.par_chunks_exact(row_bytes);
    rows.map(|row| match dtype.size() {
        2 => count_kept(row.as_chunks::<2>().0),
        _ => count_kept(row.as_chunks::<4>().0),
    })
    .collect()
}

/// The bytes of a matrix of so many kept elements when it is packed.
pub(super) fn packed_bytes(dtype: DType, [rows, cols]: [usize; 2], kept: usize) -> usize {
    kept * dtype.size() + rows * cols.div_ceil(8) + (rows + 2) * size_of::<i64>()
}

/// Splits rows of elements that take `size` bytes each, of which rows so many are kept: the elements that are not +0 go to `values`,
/// their bits to `mask`. False where others are kept, because the rows are no longer what they were.
pub(super) fn split(
    size: usize,
    cols: usize,
    bytes: &[u8],
    kept: &[usize],
    values: &mut Vec<u8>,
    mask: &mut [u8],
) -> bool {
    values.resize(kept.iter().sum::<usize>() * size, 0);
    let mut rest = &mut values[..];
    let parts: Vec<_> = kept
        .iter()
        .map(|kept| {
            let (here, after) = std::mem::take(&mut rest).split_at_mut(kept * size);
            rest = after;
            (here, *kept)
        })
        .collect();
    let rows = bytes.par_chunks_exact((cols * size).max(1));
    let masks = mask.par_chunks_exact_mut(mask_bytes(cols).max(1));
    parts.into_par_iter().zip(masks).zip(rows).all(|(((values, kept), mask), row)| {
        let found = match size {
            2 => split_row(row.as_chunks::<2>().0, values.as_chunks_mut::<2>().0, mask),
            _ => split_row(row.as_chunks::<4>().0, values.as_chunks_mut::<4>().0, mask),
        };
        found == kept
    })
}
