//! One packed tensor.

use crate::checkpoint::{Entry, float};
use espalier_device::PackedMatrix;
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

/// How many elements of each row are not +0.
pub(super) fn count(dtype: DType, cols: usize, bytes: &[u8]) -> Vec<usize> {
    let row_bytes = cols * dtype.size();
    if row_bytes == 0 {
        return Vec::new();
    }
    let rows = bytes.par_chunks_exact(row_bytes);
    rows.map(|row| match dtype.size() {
        2 => row.as_chunks::<2>().0.iter().filter(|element| **element != [0; 2]).count(),
        _ => row.as_chunks::<4>().0.iter().filter(|element| **element != [0; 4]).count(),
    })
    .collect()
}

/// The bytes of a matrix of so many kept elements when it is packed.
pub(super) fn packed_bytes(dtype: DType, [rows, cols]: [usize; 2], kept: usize) -> usize {
    kept * dtype.size() + rows * cols.div_ceil(8) + (rows + 2) * size_of::<i64>()
}

/// The parts of a matrix, of whose rows so many elements are kept.
pub(super) fn split(dtype: DType, cols: usize, bytes: &[u8], kept: &[usize]) -> PackedMatrix {
    let size = dtype.size();
    let (mask_bytes, row_bytes) = (cols.div_ceil(8), cols * size);
    let mut offsets = Vec::with_capacity(kept.len());
    let mut all = 0;
    for kept in kept {
        offsets.push(all as u64);
        all += kept;
    }
    let (mut values, mut mask) = (vec![0; all * size], vec![0; kept.len() * mask_bytes]);
    let mut rest = &mut values[..];
    let parts: Vec<_> = kept
        .iter()
        .map(|kept| {
            let (here, after) = std::mem::take(&mut rest).split_at_mut(kept * size);
            rest = after;
            here
        })
        .collect();
    let rows = parts.into_par_iter().zip(mask.par_chunks_exact_mut(mask_bytes.max(1)));
    rows.zip(bytes.par_chunks_exact(row_bytes.max(1))).for_each(|((values, mask), row)| match size {
        2 => split_row(row.as_chunks::<2>().0, values.as_chunks_mut::<2>().0, mask),
        _ => split_row(row.as_chunks::<4>().0, values.as_chunks_mut::<4>().0, mask),
    });
    PackedMatrix { dtype, cols, values: values.into(), mask: mask.into(), offsets }
}

/// Puts the elements of a row that are not +0 into `values`, which has room for so many, and their bits into the mask.
fn split_row<const N: usize>(row: &[[u8; N]], mut values: &mut [[u8; N]], mask: &mut [u8]) {
    for (eight, bits) in row.chunks(8).zip(mask) {
        // Every element is put down, and what follows one that is not kept is put down over it.
        let mut kept = [[0; N]; 9];
        let mut next = 0;
        for (bit, element) in eight.iter().enumerate() {
            kept[next] = *element;
            let is_kept = *element != [0; N];
            next += usize::from(is_kept);
            *bits |= u8::from(is_kept) << bit;
        }
        let (here, after) = std::mem::take(&mut values).split_at_mut(next);
        here.copy_from_slice(&kept[..next]);
        values = after;
    }
}
