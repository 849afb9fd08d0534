//! `c = alpha · a · b + beta · c` on rectangles of row-major matrices.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::panels::{DEPTH, ROWS, with_columns};
use crate::{
    Kernel,
    parallel::Disjoint,
    product::{Operand, product},
    wgsl,
};

/// Bindings: a, b, c f32. A workgroup for every tile of c.
///
/// Constants: `A_TRANSPOSED` and `B_TRANSPOSED`, whether the rectangle is stored transposed; `A_ALIGNED` and
/// `B_ALIGNED`, whether its start and its stride are multiples of 4; `C_LOWER`, whether only
/// `j <= i + c_diagonal` is computed; `A_LOWER` and `B_LOWER`, whether a and b are lower triangular, see
/// [`Params`]; `GX` and `GY`, powers of two: a workgroup computes `8 · GY` rows × `8 · GX` columns; `DEPTH`, a multiple
/// of 4, how many products it stages at a time. Every element is summed by one invocation in the order of the products,
/// so that neither shows in the result.
pub const KERNEL: Kernel = wgsl::matmul::KERNEL.with::<Params>();

/// Rows and columns that an invocation computes.
pub const SIDE: u32 = 8;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of c's rectangle.
    pub m: u32,
    /// Columns of c's rectangle.
    pub n: u32,
    /// Products to add up.
    pub k: u32,
    /// Where the rectangle of a starts in its panel.
    pub a_start: u32,
    /// Columns of a.
    pub a_stride: u32,
    /// Where the rectangle of b starts in its panel.
    pub b_start: u32,
    /// Columns of b.
    pub b_stride: u32,
    /// Where the rectangle of c starts in its panel.
    pub c_start: u32,
    /// Columns of c.
    pub c_stride: u32,
    /// The factor of the product.
    pub alpha: f32,
    /// The factor of the previous content of c; with 0 it is not read.
    pub beta: f32,
    /// With `A_LOWER`: `a[i, k]` is 0 for `k > i + a_diagonal`.
    pub a_diagonal: i32,
    /// With `B_LOWER`: `b[k, j]` is 0 for `k < j + b_diagonal`.
    pub b_diagonal: i32,
    /// With `C_LOWER`: only `j <= i + c_diagonal` is computed.
    pub c_diagonal: i32,
}

/// A rectangle of a row-major matrix, or its transpose, to read.
#[derive(Debug, Clone, Copy)]
pub struct Rectangle<'a> {
    /// The whole matrix.
    pub matrix: &'a [f32],
    /// Columns of the whole matrix.
    pub stride: usize,
    /// The rectangle's first row and column.
    pub from: (usize, usize),
    /// The rectangle's rows and columns, before transposing.
    pub size: (usize, usize),
    /// Whether the transpose is meant.
    pub transposed: bool,
}

impl<'a> Rectangle<'a> {
    /// All of a matrix of `cols` columns.
    pub fn all(matrix: &'a [f32], cols: usize) -> Self {
        let rows = matrix.len().checked_div(cols).unwrap_or(0);
        Self { matrix, stride: cols, from: (0, 0), size: (rows, cols), transposed: false }
    }

    /// Rows and columns, after transposing.
    pub fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.size.1, self.size.0) } else { self.size }
    }

    /// The part of the operand that starts at this row and column of it.
    fn at(&self, row: usize, col: usize) -> Operand<'_> {
        let (row, col) = if self.transposed { (col, row) } else { (row, col) };
        let start = (self.from.0 + row) * self.stride + self.from.1 + col;
        let operand = Operand::rows(&self.matrix[start.min(self.matrix.len())..], self.stride);
        if self.transposed { operand.t() } else { operand }
    }

    fn check(&self) {
        let ((row, col), (rows, cols)) = (self.from, self.size);
        assert!(col + cols <= self.stride, "the rectangle's columns are the matrix's");
        assert!((row + rows) * self.stride <= self.matrix.len(), "the rectangle's rows are the matrix's");
    }
}

/// The largest tile of c that one task computes.
const TILE: (usize, usize) = (512, 256);

/// The fewest rows of a tile of panels: packing the columns costs as much as some ten rows' products.
#[cfg(target_arch = "x86_64")]
const LEAST_ROWS: usize = 48;

/// The tile of a product of these rows and columns. Sums of panels are the same in tiles of any size, which is why small
/// products may be cut for all threads.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "one tile for all"))]
fn tile(m: usize, n: usize) -> (usize, usize) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        let tasks = (2 * rayon::current_num_threads()).div_ceil(n.div_ceil(TILE.1));
        return (m.div_ceil(tasks).max(LEAST_ROWS).next_multiple_of(ROWS).min(2 * TILE.0), TILE.1);
    }
    TILE
}

/// `c = alpha · a · b + beta · c`, where c's rectangle starts at `to` and has the product's shape; with `beta` 0
/// its old content is not read. The result does not depend on the number of threads.
///
/// # Panics
/// A rectangle is not inside its matrix, or the inner sizes differ.
pub fn cpu(
    alpha: f32,
    a: Rectangle<'_>,
    b: Rectangle<'_>,
    beta: f32,
    c: &mut [f32],
    stride: usize,
    to: (usize, usize),
) {
    let ((m, k), (inner, n)) = (a.shape(), b.shape());
    assert_eq!(k, inner, "a has as many columns as b has rows");
    a.check();
    b.check();
    assert!(to.1 + n <= stride && (to.0 + m) * stride <= c.len(), "the result is inside c");
    if m == 0 || n == 0 {
        return;
    }
    let c = Disjoint::new(&mut c[to.0 * stride + to.1..]);
    #[cfg(target_arch = "x86_64")]
    if a.transposed && k > 0 && is_x86_feature_detected!("avx512f") {
        // The columns that are rows of the product are transposed once for all tasks.
        for first in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - first);
            let beta = if first == 0 { beta } else { 1.0 };
            let start = (a.from.0 + first) * a.stride + a.from.1;
            with_columns(&a.matrix[start..], a.stride, (depth, m), |columns| {
                let rows = |row: usize| Operand::rows(&columns[row * depth..], depth);
                tiles((m, n, depth), alpha, rows, |col| b.at(first, col), beta, c, stride);
            });
        }
        return;
    }
    tiles((m, n, k), alpha, |row| a.at(row, 0), |col| b.at(0, col), beta, c, stride);
}

/// A product in tiles, each a task, of which a has the rows from one on, and b the columns.
fn tiles<'a>(
    (m, n, k): (usize, usize, usize),
    alpha: f32,
    a: impl Fn(usize) -> Operand<'a> + Sync,
    b: impl Fn(usize) -> Operand<'a> + Sync,
    beta: f32,
    c: Disjoint<'_, f32>,
    stride: usize,
) {
    let (rows, cols) = tile(m, n);
    let across = n.div_ceil(cols);
    (0..m.div_ceil(rows) * across).into_par_iter().with_max_len(1).for_each(|tile| {
        let (row, col) = (tile / across * rows, tile % across * cols);
        let size = (rows.min(m - row), cols.min(n - col), k);
        // SAFETY: the operands were checked to be inside their matrices; this tile of c is this task's alone.
        unsafe { product(size, alpha, a(row), b(col), beta, c.at(row * stride + col), stride) };
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_multiply_as_in_double_precision() {
        let fill = |len: usize, seed: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 7.0 - 1.5).collect()
        };
        let (stride_a, stride_b, stride_c) = (301, 277, 290);
        let (a, b) = (fill(310 * stride_a, 1), fill(310 * stride_b, 2));
        for (m, n, k) in [(1, 1, 1), (3, 270, 5), (280, 9, 257), (33, 31, 0)] {
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let swap = |(x, y), t| if t { (y, x) } else { (x, y) };
                let left = Rectangle {
                    matrix: &a,
                    stride: stride_a,
                    from: (2, 3),
                    size: swap((m, k), ta),
                    transposed: ta,
                };
                let right = Rectangle {
                    matrix: &b,
                    stride: stride_b,
                    from: (5, 1),
                    size: swap((k, n), tb),
                    transposed: tb,
                };
                let old = fill(300 * stride_c, 3);
                let mut c = old.clone();
                cpu(0.5, left, right, -2.0, &mut c, stride_c, (4, 6));
                for (at, (&new, &old)) in c.iter().zip(&old).enumerate() {
                    let (row, col) = (at / stride_c, at % stride_c);
                    if !(4..4 + m).contains(&row) || !(6..6 + n).contains(&col) {
                        assert_eq!(new, old, "outside of the rectangle");
                        continue;
                    }
                    let (i, j) = (row - 4, col - 6);
                    let sum: f64 = (0..k)
                        .map(|p| {
                            let (ar, ac) = swap((i, p), ta);
                            let (br, bc) = swap((p, j), tb);
                            f64::from(a[(2 + ar) * stride_a + 3 + ac])
                                * f64::from(b[(5 + br) * stride_b + 1 + bc])
                        })
                        .sum();
                    let expected = 0.5 * sum - 2.0 * f64::from(old);
                    assert!((f64::from(new) - expected).abs() < 1e-3, "{m} {n} {k}: {new} {expected}");
                }
            }
        }
    }

    #[test]
    fn with_beta_zero_the_old_content_does_not_matter() {
        let mut c = [f32::NAN; 4];
        let one = [1.0, 2.0, 3.0, 4.0];
        cpu(1.0, Rectangle::all(&one, 2), Rectangle::all(&one, 2), 0.0, &mut c, 2, (0, 0));
        assert_eq!(c, [7.0, 10.0, 15.0, 22.0]);
    }
}
