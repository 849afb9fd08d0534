//! Matrix products on one thread: the building block of the parallel kernels.

use gemm::Parallelism;
use std::marker::PhantomData;

/// A strided matrix to read.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) start: *const f32,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
    matrix: PhantomData<&'a [f32]>,
}

impl<'a> Operand<'a> {
    /// A row-major matrix whose rows are `stride` elements apart.
    pub(crate) fn rows(x: &'a [f32], stride: usize) -> Self {
        Self { start: x.as_ptr(), row_stride: stride, col_stride: 1, matrix: PhantomData }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Whether the elements of a row or of a column lie side by side.
    #[cfg(target_arch = "x86_64")]
    fn contiguous(&self) -> bool {
        self.row_stride == 1 || self.col_stride == 1
    }
}

/// `c = alpha · a · b (+ beta · c)` for a `[m, k]`, b `[k, n]` and c `[m, n]`, whose rows are `stride` elements
/// apart; with `beta` 0 the old content of c is not read. The order of the sums depends on the shapes alone.
///
/// # Safety
/// The three matrices lie inside their allocations, and nothing else uses c meanwhile.
pub(crate) unsafe fn product(
    (m, n, k): (usize, usize, usize),
    alpha: f32,
    a: Operand<'_>,
    b: Operand<'_>,
    beta: f32,
    c: *mut f32,
    stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && a.contiguous() && b.contiguous() {
        // SAFETY: as the caller promises; the instructions were looked for.
        return unsafe { crate::panels::product((m, n, k), alpha, a, b, beta, c, stride) };
    }
    // SAFETY: as the caller promises. In `gemm`, `alpha` scales c and `beta` the product.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            stride as isize,
            beta != 0.0,
            a.start,
            a.col_stride as isize,
            a.row_stride as isize,
            b.start,
            b.col_stride as isize,
            b.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
