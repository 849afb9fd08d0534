//! A matrix whose zeros are left out: a bit for every element, and those that are kept.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

use half::{bf16, f16};
use rayon::prelude::*;

use crate::{Floats, FloatsMut};

/// A matrix without its zeros, in the layout of compressed-tensors' `sparse-bitmask`: row after row the elements whose bits
/// are set, in order. A set bit may stand for a zero.
///
/// Whatever the bits and offsets say, nothing outside the slices is read; whether they fit together is checked by
/// [`check`](Self::check) alone.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    values: Floats<'a>,
    mask: &'a [u8],
    offsets: &'a [u64],
    cols: usize,
}

/// Why a matrix is not what its parts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedError {
    /// A row's values do not begin where those of the row before end.
    Offset {
        /// The row.
        row: usize,
        /// Where they begin.
        found: u64,
        /// Where they should.
        expected: u64,
    },
    /// A row has bits beyond the last column.
    Beyond {
        /// The row.
        row: usize,
    },
    /// There are fewer or more values than bits.
    Values {
        /// Values.
        found: usize,
        /// Bits that are set.
        expected: u64,
    },
}

impl std::fmt::Display for PackedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offset { row, found, expected } => {
                write!(
                    f,
                    "the values of row {row} begin at {found} by its offset, but at {expected} by the mask"
                )
            }
            Self::Beyond { row } => write!(f, "the mask of row {row} has bits beyond the last column"),
            Self::Values { found, expected } => {
                write!(f, "there are {found} values, but the mask keeps {expected}")
            }
        }
    }
}

impl std::error::Error for PackedError {}

/// Bytes of a row's mask.
pub fn mask_bytes(cols: usize) -> usize {
    cols.div_ceil(8)
}

impl<'a> Packed<'a> {
    /// The matrix of these parts: values, a mask of [`mask_bytes`] a row, lowest bit first, and where each row's values begin.
    ///
    /// # Panics
    /// The mask is of another length than the rows need.
    pub fn new(values: Floats<'a>, mask: &'a [u8], offsets: &'a [u64], cols: usize) -> Self {
        assert_eq!(mask.len(), offsets.len() * mask_bytes(cols), "a mask for every row");
        Self { values, mask, offsets, cols }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.offsets.len()
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The values of all rows.
    pub(crate) fn values(&self) -> Floats<'a> {
        self.values
    }

    /// A row's mask, and where its values begin; no further than where they all end.
    pub(crate) fn row(&self, row: usize) -> (&'a [u8], usize) {
        let bytes = mask_bytes(self.cols);
        let start = usize::try_from(self.offsets[row]).unwrap_or(usize::MAX);
        (&self.mask[row * bytes..][..bytes], start.min(self.values.len()))
    }

    /// Checks that mask, offsets and values fit together.
    ///
    /// # Errors
    /// The first row that does not.
    pub fn check(&self) -> Result<(), PackedError> {
        let bytes = mask_bytes(self.cols);
        let mut expected = 0;
        for (row, &found) in self.offsets.iter().enumerate() {
            if found != expected {
                return Err(PackedError::Offset { row, found, expected });
            }
            let mask = &self.mask[row * bytes..][..bytes];
            let spare = bytes * 8 - self.cols;
            if spare > 0 && mask[bytes - 1] >> (8 - spare) != 0 {
                return Err(PackedError::Beyond { row });
            }
            expected += count(mask);
        }
        if expected != self.values.len() as u64 {
            return Err(PackedError::Values { found: self.values.len(), expected });
        }
        Ok(())
    }

    /// Puts the elements of some rows into `out`, as they are.
    ///
    /// # Panics
    /// There are no such rows, or `out` is of another type or length.
    pub fn expand(&self, rows: std::ops::Range<usize>, out: FloatsMut<'_>) {
        match (self.values, out) {
            (Floats::F32(values), FloatsMut::F32(out)) => self.expand_into(values, rows, out),
            (Floats::F16(values), FloatsMut::F16(out)) => self.expand_into(values, rows, out),
            (Floats::BF16(values), FloatsMut::BF16(out)) => self.expand_into(values, rows, out),
            _ => panic!("elements of another type"),
        }
    }

    /// Puts all elements into `out`, as they are.
    ///
    /// # Panics
    /// `out` is of another type or length.
    pub fn expand_all(&self, out: FloatsMut<'_>) {
        match (self.values, out) {
            (Floats::F32(values), FloatsMut::F32(out)) => self.all(values, out),
            (Floats::F16(values), FloatsMut::F16(out)) => self.all(values, out),
            (Floats::BF16(values), FloatsMut::BF16(out)) => self.all(values, out),
            _ => panic!("elements of another type"),
        }
    }

    /// Every element.
    pub(crate) fn expanded(&self) -> Expanded {
        let count = self.rows() * self.cols;
        let mut expanded = match self.values {
            Floats::F32(_) => Expanded::F32(vec![0.0; count]),
            Floats::F16(_) => Expanded::F16(vec![f16::ZERO; count]),
            Floats::BF16(_) => Expanded::BF16(vec![bf16::ZERO; count]),
        };
        self.expand_all(match &mut expanded {
            Expanded::F32(out) => FloatsMut::F32(out),
            Expanded::F16(out) => FloatsMut::F16(out),
            Expanded::BF16(out) => FloatsMut::BF16(out),
        });
        expanded
    }

    fn all<T: Element>(&self, values: &[T], out: &mut [T]) {
        const ROWS: usize = 16;
        assert_eq!(out.len(), self.rows() * self.cols, "a place for every element");
        let parts = out.par_chunks_mut((ROWS * self.cols).max(1)).enumerate();
        parts.for_each(|(part, out)| {
            let first = part * ROWS;
            self.expand_into(values, first..(first + ROWS).min(self.rows()), out);
        });
    }

    fn expand_into<T: Element>(&self, values: &[T], rows: std::ops::Range<usize>, out: &mut [T]) {
        assert_eq!(out.len(), rows.len() * self.cols, "an element for every one of these rows'");
        if self.cols == 0 {
            return;
        }
        for (row, out) in rows.zip(out.chunks_exact_mut(self.cols)) {
            let (mask, start) = self.row(row);
            spread(mask, &values[start..], out);
        }
    }
}

/// How many bits are set.
pub fn count(mask: &[u8]) -> u64 {
    let (words, rest) = mask.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from(u64::from_le_bytes(*word).count_ones()));
    words.sum::<u64>() + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// Elements of two or four bytes, in which any bits stand for something.
pub(crate) trait Element: Copy + Default + Send + Sync {}

impl Element for f32 {}
impl Element for f16 {}
impl Element for bf16 {}

/// Puts values where bits are set, in order, and zeros elsewhere. Where there are too few values, the rest is zeros.
pub(crate) fn spread<T: Element>(mask: &[u8], values: &[T], out: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if avx512::expands() {
        // SAFETY: the processor has the instructions, and elements have two or four bytes and any bits.
        let (done, used) = unsafe {
            if size_of::<T>() == 2 {
                avx512::spread::<avx512::Two, T>(mask, values, out)
            } else {
                avx512::spread::<avx512::Four, T>(mask, values, out)
            }
        };
        return spread_by_bytes(&mask[done / 8..], &values[used..], &mut out[done..]);
    }
    spread_by_bytes(mask, values, out);
}

fn spread_by_bytes<T: Element>(mask: &[u8], mut values: &[T], out: &mut [T]) {
    for (out, &bits) in out.chunks_mut(8).zip(mask) {
        if bits == 0xff
            && let (Ok(eight), Some((here, rest))) =
                (<&mut [T; 8]>::try_from(&mut *out), values.split_first_chunk::<8>())
        {
            *eight = *here;
            values = rest;
            continue;
        }
        if values.len() >= 8 {
            // Without a branch on every bit: the next value is read whether it is kept or not.
            let mut next = 0;
            for (bit, out) in out.iter_mut().enumerate() {
                let kept = usize::from(bits >> bit & 1);
                *out = if kept == 1 { values[next & 7] } else { T::default() };
                next += kept;
            }
            values = &values[next..];
            continue;
        }
        for (bit, out) in out.iter_mut().enumerate() {
            *out = T::default();
            if bits >> bit & 1 == 1
                && let Some((first, rest)) = values.split_first()
            {
                *out = *first;
                values = rest;
            }
        }
    }
}

/// How many elements of `N` bytes, two or four, have any bit set.
pub fn count_kept<const N: usize>(row: &[[u8; N]]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if avx512::expands() {
        // SAFETY: the processor has the instructions.
        let (done, kept) = unsafe {
            match N {
                2 => avx512::count::<avx512::Two, _>(row),
                4 => avx512::count::<avx512::Four, _>(row),
                _ => (0, 0),
            }
        };
        return kept + row[done..].iter().filter(|element| **element != [0; N]).count();
    }
    row.iter().filter(|element| **element != [0; N]).count()
}

/// Puts the elements of a row of `N` bytes each, two or four, that have any bit set into `values`, as many as there is room for, and
/// their bits into `mask`, lowest first. Tells how many there are.
///
/// # Panics
/// The mask is shorter than [`mask_bytes`] says.
pub fn split_row<const N: usize>(row: &[[u8; N]], values: &mut [[u8; N]], mask: &mut [u8]) -> usize {
    let mask = &mut mask[..mask_bytes(row.len())];
    let (mut done, mut next) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if avx512::expands() {
        // SAFETY: the processor has the instructions.
        (done, next) = unsafe {
            match N {
                2 => avx512::split::<avx512::Two, _>(row, values, mask),
                4 => avx512::split::<avx512::Four, _>(row, values, mask),
                _ => (0, 0),
            }
        };
    }
    for (eight, bits) in row[done..].chunks(8).zip(&mut mask[done / 8..]) {
        // Every element is put down, and what follows one that is not kept is put down over it.
        let mut kept = [[0; N]; 9];
        let (mut count, mut set) = (0, 0);
        for (bit, element) in eight.iter().enumerate() {
            kept[count] = *element;
            let is_kept = *element != [0; N];
            count += usize::from(is_kept);
            set |= u8::from(is_kept) << bit;
        }
        *bits = set;
        let room = values.get_mut(next..).unwrap_or_default();
        let here = count.min(room.len());
        room[..here].copy_from_slice(&kept[..here]);
        next += count;
    }
    next
}

/// A matrix of weights to multiply with.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// Every element.
    Dense(Floats<'a>),
    /// Without zeros.
    Packed(Packed<'a>),
}

impl<'a> From<Floats<'a>> for Weights<'a> {
    fn from(floats: Floats<'a>) -> Self {
        Self::Dense(floats)
    }
}

/// Every element of a matrix, zeros put in.
pub(crate) enum Expanded {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

impl Expanded {
    /// The elements.
    pub(crate) fn floats(&self) -> Floats<'_> {
        match self {
            Self::F32(x) => Floats::F32(x),
            Self::F16(x) => Floats::F16(x),
            Self::BF16(x) => Floats::BF16(x),
        }
    }
}

impl Weights<'_> {
    /// Every element, where zeros are left out.
    pub(crate) fn expanded(&self) -> Option<Expanded> {
        match self {
            Self::Dense(_) => None,
            Self::Packed(packed) => Some(packed.expanded()),
        }
    }

    /// How many elements there are, zeros included.
    pub fn len(&self) -> usize {
        match self {
            Self::Dense(floats) => floats.len(),
            Self::Packed(packed) => packed.rows() * packed.cols(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
