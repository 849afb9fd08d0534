//! A product of strided matrices on one thread.

use super::{COLS, DEPTH, Left, Right, Rows, TILE_COLS, Words, copy, multiply};
use crate::{
    Floats,
    parallel::{Tile, with_scratch},
    product::Operand,
};

/// `c = alpha · a · b + beta · c` as [`product`](crate::product::product), in the same order of sums as every product of panels.
///
/// # Safety
/// The processor has AVX-512; the three matrices lie inside their allocations, rows or columns of a and b are contiguous, and
/// nothing else uses c meanwhile.
pub(crate) unsafe fn product(
    (m, n, k): (usize, usize, usize),
    alpha: f32,
    a: Operand<'_>,
    b: Operand<'_>,
    beta: f32,
    c: *mut f32,
    stride: usize,
) {
    for first in (0..k.max(1)).step_by(DEPTH) {
        let depth = DEPTH.min(k - first);
        let beta = if first == 0 { beta } else { 1.0 };
        // SAFETY: as the caller promises, of these words of the operands.
        unsafe {
            left(a, (m, first, depth), |left| {
                for col in (0..n).step_by(TILE_COLS) {
                    let cols = TILE_COLS.min(n - col);
                    let tile = Tile { start: c.add(col), stride };
                    right(b, (first, depth), (col, cols), |right| {
                        multiply(Words::F32, depth, (alpha, beta), left, right, (m, cols), None, tile);
                    });
                }
            });
        }
    }
}

/// Runs `f` with so many words of the rows, transposed first if they are columns.
unsafe fn left(a: Operand<'_>, (rows, first, depth): (usize, usize, usize), f: impl FnOnce(Left)) {
    if a.col_stride == 1 || depth == 1 {
        return f(Left { start: a.start.wrapping_add(first * a.col_stride).cast(), stride: a.row_stride });
    }
    // SAFETY: the operand has these rows and words, as the caller promises.
    let columns = unsafe { columns(a.start, a.col_stride, (first, depth), (0, rows)) };
    with_scratch(rows * depth, |to| {
        let to: &mut [u32] = bytemuck::cast_slice_mut(to);
        // SAFETY: the processor has AVX-512, as the caller promises.
        unsafe {
            Rows::new(Floats::F32(columns), a.col_stride).transpose(
                (depth, rows),
                to.as_mut_ptr(),
                depth,
                true,
            )
        };
        f(Left { start: to.as_ptr(), stride: depth });
    });
}

/// Runs `f` with so many words of some columns, in panels.
unsafe fn right(
    b: Operand<'_>,
    (first, depth): (usize, usize),
    (col, cols): (usize, usize),
    f: impl FnOnce(Right),
) {
    with_scratch(cols.div_ceil(COLS) * COLS * depth, |panels| {
        let panels: &mut [u32] = bytemuck::cast_slice_mut(panels);
        for (place, panel) in panels.chunks_exact_mut((COLS * depth).max(1)).enumerate() {
            let (col, cols) = (col + place * COLS, COLS.min(cols - place * COLS));
            // SAFETY: the operand has these columns and words, and the processor AVX-512, as the caller promises.
            unsafe {
                if b.col_stride == 1 {
                    let rows = columns(b.start, b.row_stride, (first, depth), (col, cols));
                    copy(bytemuck::cast_slice(rows), b.row_stride, cols, panel);
                } else {
                    let rows = columns(b.start, b.col_stride, (col, cols), (first, depth));
                    Rows::new(Floats::F32(rows), b.col_stride).transpose(
                        (cols, depth),
                        panel.as_mut_ptr(),
                        COLS,
                        false,
                    );
                }
            }
        }
        f(Right { start: panels.as_ptr(), stride: COLS });
    });
}

/// The elements from the first of some columns of some contiguous rows to the last.
unsafe fn columns<'a>(
    start: *const f32,
    stride: usize,
    (first_row, rows): (usize, usize),
    (first_col, cols): (usize, usize),
) -> &'a [f32] {
    if rows == 0 || cols == 0 {
        return &[];
    }
    // SAFETY: the operand has these rows and columns, as the caller promises.
    unsafe {
        std::slice::from_raw_parts(start.add(first_row * stride + first_col), (rows - 1) * stride + cols)
    }
}
