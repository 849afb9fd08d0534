//! Matrix products on rectangles, by a given variant.

use super::Variant;
use crate::{
    DType, Operand, Result, Tensor,
    gpu::{Context, Dispatch, Panels, memory, panels, sizes::size},
};
use espalier_shaders::matmul::Params;
use std::ops::Range;

const NAME: &str = "matmul";

/// The structure of a product's matrices.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Only what is on or below the diagonal of the whole result matrix is computed.
    pub lower: bool,
    /// The first operand, not transposed, is of a lower triangular matrix.
    pub a_lower: bool,
    /// The second operand, not transposed, is of a lower triangular matrix.
    pub b_lower: bool,
}

/// `c = alpha · a · b + beta · c`, on the rectangle of c that starts at `to`. Operands that fit.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a> {
    /// The parts that are 0 or not wanted.
    shape: Shape,
    /// The factor of the product.
    alpha: f32,
    /// The left operand.
    pub(in crate::gpu) a: Operand<'a>,
    /// The right operand.
    pub(in crate::gpu) b: Operand<'a>,
    /// The factor of the previous content of c.
    beta: f32,
    /// Where the result goes.
    c: &'a Tensor,
    /// The row and column of c that it starts at.
    to: (usize, usize),
}

impl<'a> Product<'a> {
    /// Of operands that are full, all of which is wanted.
    pub fn new(
        alpha: f32,
        a: Operand<'a>,
        b: Operand<'a>,
        beta: f32,
        c: &'a Tensor,
        to: (usize, usize),
    ) -> Self {
        Self { shape: Shape::default(), alpha, a, b, beta, c, to }
    }

    /// Of operands of which this is known.
    pub(in crate::gpu) fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// Computes it by this variant, in as many runs as there are panels. What is added up in several runs is added in the
    /// order of the panels.
    ///
    /// # Errors
    /// The kernel does not compile, or the device failed.
    pub fn run_by(&self, context: &Context, variant: &Variant) -> Result<()> {
        let (a, b) = (self.a, self.b);
        let ((m, k), n) = (a.shape(), b.shape().1);
        if k == 0 {
            // The kernel then reads neither operand, but something has to be bound.
            let nothing = memory::uninitialised(context, DType::F32, 1, 4)?;
            let a = Operand { rows: m, cols: 0, ..nothing.all() };
            let b = Operand { rows: 0, cols: n, ..nothing.all() };
            let (nothing, none) = (panels(&nothing)?, 0..0);
            let (columns, depths) = (cuts(n, &[]), std::slice::from_ref(&none));
            let product = Product { a, b, ..*self };
            return product.runs(context, variant, [nothing; 2], &columns, depths);
        }
        let (a_panels, b_panels) = (panels(a.tensor)?, panels(b.tensor)?);
        let columns = match b.transposed {
            true => cuts(n, &[(b_panels, b.row)]),
            false => cuts(n, &[]),
        };
        let depths = match (a.transposed, b.transposed) {
            (true, true) => cuts(k, &[(a_panels, a.row)]),
            (true, false) => cuts(k, &[(a_panels, a.row), (b_panels, b.row)]),
            (false, false) => cuts(k, &[(b_panels, b.row)]),
            (false, true) => cuts(k, &[]),
        };
        self.runs(context, variant, [a_panels, b_panels], &columns, &depths)
    }

    /// The runs for every range of rows, columns and depths.
    fn runs(
        &self,
        context: &Context,
        variant: &Variant,
        [a_panels, b_panels]: [&Panels; 2],
        columns: &[Range<usize>],
        depths: &[Range<usize>],
    ) -> Result<()> {
        let &Self { shape, alpha, a, b, beta, c, to } = self;
        let (m, c_panels) = (a.shape().0, panels(c)?);
        let rows = match a.transposed || a.cols == 0 {
            true => cuts(m, &[(c_panels, to.0)]),
            false => cuts(m, &[(c_panels, to.0), (a_panels, a.row)]),
        };
        for i in rows {
            for j in columns {
                for (run, k) in depths.iter().enumerate() {
                    // The first row and column of an operand in this run.
                    let a_at = match a.transposed {
                        true => (a.row + k.start, a.col + i.start),
                        false => (a.row + i.start, a.col + k.start),
                    };
                    let b_at = match b.transposed {
                        true => (b.row + j.start, b.col + k.start),
                        false => (b.row + k.start, b.col + j.start),
                    };
                    let c_at = (to.0 + i.start, to.1 + j.start);
                    let nothing = k.is_empty();
                    let a_part = a_panels.part(if nothing { 0 } else { a_at.0 });
                    let b_part = b_panels.part(if nothing { 0 } else { b_at.0 });
                    let c_part = c_panels.part(c_at.0);
                    let a_start = a_part.row * a.tensor.cols() + a_at.1;
                    let b_start = b_part.row * b.tensor.cols() + b_at.1;
                    let params = Params {
                        m: size(NAME, i.len())?,
                        n: size(NAME, j.len())?,
                        k: size(NAME, k.len())?,
                        a_start: size(NAME, a_start)?,
                        a_stride: size(NAME, a.tensor.cols())?,
                        b_start: size(NAME, b_start)?,
                        b_stride: size(NAME, b.tensor.cols())?,
                        c_start: size(NAME, c_part.row * c.cols() + c_at.1)?,
                        c_stride: size(NAME, c.cols())?,
                        alpha,
                        beta: if run == 0 { beta } else { 1.0 },
                        a_diagonal: a_at.0 as i32 - a_at.1 as i32,
                        b_diagonal: b_at.1 as i32 - b_at.0 as i32,
                        c_diagonal: c_at.0 as i32 - c_at.1 as i32,
                    };
                    let aligned = |start: usize, operand: Operand| {
                        start.is_multiple_of(4) && operand.tensor.cols().is_multiple_of(4)
                    };
                    let [tile_rows, tile_cols] = variant.tile.map(|side| side as usize);
                    let tiles = i.len().div_ceil(tile_rows) * j.len().div_ceil(tile_cols);
                    let [first, second, third] =
                        variant.constants.map(|(name, value)| (name, f64::from(value)));
                    let flag = |name, value: bool| (name, f64::from(u8::from(value)));
                    context.dispatch(&Dispatch {
                        kernel: variant.kernel,
                        constants: &[
                            flag("A_TRANSPOSED", a.transposed),
                            flag("B_TRANSPOSED", b.transposed),
                            flag("A_ALIGNED", aligned(a_start, a)),
                            flag("B_ALIGNED", aligned(b_start, b)),
                            flag("C_LOWER", shape.lower),
                            flag("A_LOWER", shape.a_lower),
                            flag("B_LOWER", shape.b_lower),
                            first,
                            second,
                            third,
                        ],
                        bindings: &[a_part.binding, b_part.binding, c_part.binding],
                        params: bytemuck::bytes_of(&params),
                        workgroups: tiles as u64,
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// Cuts a length into ranges for which every operand is within one of its panels. Number `i` is row
/// `offset + i` of an operand.
fn cuts(length: usize, operands: &[(&Panels, usize)]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < length {
        let left = operands.iter().map(|(panels, offset)| panels.part(offset + start).rows_left);
        let end = start + left.fold(length - start, usize::min);
        ranges.push(start..end);
        start = end;
    }
    ranges
}
