//! Scores that are computed as they are read, so that no matrix of them is written.

use crate::{Binary, Unary, map, zip};
use rayon::prelude::*;
use std::ops::Range;

/// Scores `f(a)` or `f(a) ∘ by`: a is a matrix, by has a number for every column.
///
/// On a GPU the constants `F` and `OP` are the functions' numbers, `BY` says whether there is a `by`; where there is
/// none its binding takes anything.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// The function of each element.
    pub f: Unary,
    /// `[rows, cols]`
    pub a: &'a [f32],
    /// Columns of a.
    pub cols: usize,
    /// The row it is combined with, `[cols]`.
    pub by: Option<(Binary, &'a [f32])>,
}

/// Scores that a task ranks, at least.
const TASK: usize = 16 * 1024;

impl<'a> Scores<'a> {
    /// Scores that are there already.
    pub fn of(a: &'a [f32], cols: usize) -> Self {
        Self { f: Unary::Identity, a, cols, by: None }
    }

    /// Checks that the slices fit, and counts the rows.
    ///
    /// # Panics
    /// They do not.
    pub(crate) fn rows(&self) -> usize {
        let rows = self.a.len().checked_div(self.cols).unwrap_or(0);
        assert_eq!(self.a.len(), rows * self.cols, "a is [rows, cols]");
        assert!(self.by.is_none_or(|(_, by)| by.len() == self.cols), "by is [cols]");
        rows
    }

    /// Runs a task for every row of the mask, `[rows, ⌈cols / 32⌉]`, in parallel.
    ///
    /// # Panics
    /// The slices do not fit.
    pub(crate) fn each_row(&self, mask: &mut [u32], task: impl Fn(usize, &mut [u32]) + Sync) {
        let (rows, words) = (self.rows(), self.cols.div_ceil(32));
        assert_eq!(rows * words, mask.len(), "mask is [rows, ⌈cols / 32⌉]");
        if rows > 0 {
            let tasks = mask.par_chunks_exact_mut(words).enumerate();
            let least = (TASK / self.cols).max(1);
            tasks.with_min_len(least).for_each(|(row, mask)| task(row, mask));
        }
    }

    /// The scores of a row. `scratch` has room for them.
    pub(crate) fn row<'s>(&self, row: usize, scratch: &'s mut [f32]) -> &'s [f32]
    where
        'a: 's,
    {
        self.read(row * self.cols..(row + 1) * self.cols, scratch)
    }

    /// The scores of a stretch of elements, over the ends of rows. `scratch` has room for them.
    pub(crate) fn read<'s>(&self, elements: Range<usize>, scratch: &'s mut [f32]) -> &'s [f32]
    where
        'a: 's,
    {
        let a = &self.a[elements.clone()];
        let out = &mut scratch[..a.len()];
        match self.by {
            None if self.f == Unary::Identity => return a,
            None => map::block(self.f, a, 1.0, 0.0, out),
            Some((op, by)) => {
                let mut done = 0;
                while done < a.len() {
                    let column = (elements.start + done) % self.cols;
                    let columns = (self.cols - column).min(a.len() - done);
                    let (a, out) = (&a[done..][..columns], &mut out[done..][..columns]);
                    zip::pairs(self.f, a, op, 1.0, &by[column..][..columns], out);
                    done += columns;
                }
            }
        }
        out
    }
}
