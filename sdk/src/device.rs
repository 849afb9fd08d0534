//! The device, as a plugin sees it.

use crate::{
    Access, Axis, Binary, Buffer, DType, Error, Kernel, Reduction, Result, Scores, Selection, Sparsity,
    Unary, Within,
    message::TensorHandle,
    service::{DeviceService, KernelCall, Op, TensorId},
    tensor::{Mask, Tensor, View, ViewMut},
};
use espalier_ops::Block;
use std::{fmt, sync::Arc};

/// Where operations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// On a GPU, in WGSL.
    Gpu,
    /// On the CPU, natively.
    Cpu,
}

/// A device: makes tensors and computes with them. Cheap to clone.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// # fn main() -> Result<()> {
/// let device = testing::device();
/// let x = device.from_slice(2, 2, &[1.0, -2.0, 3.0, 4.0])?;
/// assert_eq!(device.map(Unary::Abs, &x)?.to_vec()?, [1.0, 2.0, 3.0, 4.0]);
/// assert_eq!(device.reduce(Reduction::Sum, Axis::EachRow, &x)?.to_vec()?, [-1.0, 7.0]);
///
/// let mut product = device.zeros(DType::F32, 2, 2)?;
/// device.matmul(1.0, x.view(), x.view().t(), 0.0, product.view_mut())?;
/// assert_eq!(product.to_vec()?, [5.0, -5.0, -5.0, 25.0]);
///
/// let smallest = device.select(Scores::of(Unary::Abs, &x), Selection::Whole { count: 2 })?;
/// assert_eq!(device.zero_where(&smallest, &x)?.to_vec()?, [0.0, 0.0, 3.0, 4.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Device(Arc<dyn DeviceService>);

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.0.name())
    }
}

impl Device {
    /// The device behind a service.
    pub fn new(service: Arc<dyn DeviceService>) -> Self {
        Self(service)
    }

    /// The device's name, for messages.
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// Whether operations run on a GPU or on the CPU.
    pub fn kind(&self) -> DeviceKind {
        self.0.kind()
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn zeros(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
        let id = self.0.create(dtype, rows, cols)?;
        Ok(self.tensor(id, true, dtype, rows, cols))
    }

    /// An f32 tensor with these elements, row by row.
    ///
    /// # Errors
    /// The number of elements is another, or the device has no memory left.
    pub fn from_slice(&self, rows: usize, cols: usize, elements: &[f32]) -> Result<Tensor> {
        if rows * cols != elements.len() {
            return Err(Error::invalid(format!("{} elements for a [{rows}, {cols}] tensor", elements.len())));
        }
        let id = self.0.upload(DType::F32, rows, cols, bytemuck::cast_slice(elements))?;
        Ok(self.tensor(id, true, DType::F32, rows, cols))
    }

    /// A u32 tensor with these elements, row by row.
    ///
    /// # Errors
    /// The number of elements is another, or the device has no memory left.
    pub fn from_words(&self, rows: usize, cols: usize, elements: &[u32]) -> Result<Tensor> {
        if rows * cols != elements.len() {
            return Err(Error::invalid(format!("{} elements for a [{rows}, {cols}] tensor", elements.len())));
        }
        let id = self.0.upload(DType::U32, rows, cols, bytemuck::cast_slice(elements))?;
        Ok(self.tensor(id, true, DType::U32, rows, cols))
    }

    /// An f32 tensor whose elements are all this.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn full(&self, rows: usize, cols: usize, element: f32) -> Result<Tensor> {
        self.affine(Unary::Identity, &self.zeros(DType::F32, rows, cols)?, 1.0, element)
    }

    /// The mean of every row, or of every column.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn mean(&self, axis: Axis, x: &Tensor) -> Result<Tensor> {
        let count = if axis == Axis::EachRow { x.cols } else { x.rows };
        self.affine(Unary::Identity, &self.reduce(Reduction::Sum, axis, x)?, 1.0 / count as f32, 0.0)
    }

    /// `f(x)`, element by element.
    ///
    /// # Errors
    /// The device failed; so for every operation below, which also refuse shapes that do not fit.
    pub fn map(&self, f: Unary, x: &Tensor) -> Result<Tensor> {
        self.affine(f, x, 1.0, 0.0)
    }

    /// `scale · f(x) + shift`, element by element.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn affine(&self, f: Unary, x: &Tensor, scale: f32, shift: f32) -> Result<Tensor> {
        self.make(x.rows, x.cols, Op::Map { x: x.id, f, scale, shift })
    }

    /// `f(a) ∘ b`, element by element. `b` is of `a`'s shape, or one row `[1, cols]`, one column
    /// `[rows, 1]` or one number `[1, 1]`, which is repeated.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn zip(&self, f: Unary, a: &Tensor, op: Binary, b: &Tensor) -> Result<Tensor> {
        self.make(a.rows, a.cols, Op::Zip { a: a.id, b: b.id, f, op, alpha: 1.0 })
    }

    /// `a + alpha · b`, with the shapes of [`Device::zip`].
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn axpy(&self, a: &Tensor, alpha: f32, b: &Tensor) -> Result<Tensor> {
        let (f, op) = (Unary::Identity, Binary::Add);
        self.make(a.rows, a.cols, Op::Zip { a: a.id, b: b.id, f, op, alpha })
    }

    /// `x = f(scale · x) ∘ (alpha · b)`, element by element, in place, with the shapes of [`Device::zip`].
    ///
    /// ```
    /// # use espalier_sdk::*;
    /// # fn main() -> Result<()> {
    /// # let device = testing::device();
    /// # let gradient = device.full(1, 1, 1.0)?;
    /// let mut momentum = device.full(1, 1, 2.0)?;
    /// device.update(&mut momentum, (Unary::Identity, 0.5), Binary::Add, (3.0, &gradient))?;
    /// assert_eq!(momentum.to_vec()?, [4.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn update(
        &self,
        x: &mut Tensor,
        (f, scale): (Unary, f32),
        op: Binary,
        (alpha, b): (f32, &Tensor),
    ) -> Result<()> {
        self.0.execute(Op::Update { b: b.id, f, scale, op, alpha }, x.id)
    }

    /// Every row, or every column, gathered into one number, in a fixed order.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn reduce(&self, f: Reduction, axis: Axis, x: &Tensor) -> Result<Tensor> {
        let (rows, cols) = match axis {
            Axis::EachRow => (x.rows, 1),
            Axis::EachColumn => (1, x.cols),
        };
        self.make(rows, cols, Op::Reduce { x: x.id, f, axis, accumulate: false })
    }

    /// The smallest of the scores, none of which may be negative.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn select<'a>(&self, scores: impl Into<Scores<'a>>, selection: Selection) -> Result<Mask> {
        self.mask(scores.into(), |scores| Op::Select { scores, selection })
    }

    /// The smallest scores of every row, of each as many as its count says; all, where those are fewer.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn select_counts<'a>(&self, scores: impl Into<Scores<'a>>, counts: &[usize]) -> Result<Mask> {
        let counts: Vec<u32> = counts.iter().map(|&count| u32::try_from(count).unwrap_or(u32::MAX)).collect();
        let counts = self.from_words(counts.len(), 1, &counts)?;
        self.mask(scores.into(), |scores| Op::SelectCounts { scores, counts: counts.id })
    }

    /// The smallest scores of every row, as many as the target asks for: [`Selection::EachRow`] for a
    /// share, [`Selection::Groups`] for a pattern.
    ///
    /// # Errors
    /// As [`Device::map`]; a pattern whose groups do not divide the columns.
    pub fn smallest_per_row<'a>(&self, scores: impl Into<Scores<'a>>, target: Sparsity) -> Result<Mask> {
        let scores = scores.into();
        let selection = match target {
            Sparsity::Ratio(_) => Selection::EachRow { count: target.count(scores.a.cols) },
            Sparsity::Pattern { n, m } => Selection::Groups { n, m },
        };
        self.select(scores, selection)
    }

    /// A copy of `x` that is +0 where the mask is set.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn zero_where(&self, mask: &Mask, x: &Tensor) -> Result<Tensor> {
        let out = self.map(Unary::Identity, x)?;
        self.0.execute(Op::ZeroWhere { mask: mask.words.id }, out.id)?;
        Ok(out)
    }

    /// `c = alpha · a · b + beta · c`.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn matmul(&self, alpha: f32, a: View, b: View, beta: f32, c: ViewMut) -> Result<()> {
        let (due, found) = ((a.shape().0, b.shape().1), (c.rows, c.cols));
        if due != found {
            return Err(Error::invalid(format!(
                "matmul: the product is {due:?}, the rectangle for it {found:?}"
            )));
        }
        let op = Op::Matmul { a: ids(a), b: ids(b), alpha, beta, to: (c.row, c.col) };
        self.0.execute(op, c.tensor.id)
    }

    /// Copies a rectangle onto one of the same shape.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn copy(&self, from: View, to: ViewMut) -> Result<()> {
        let (due, found) = (from.shape(), (to.rows, to.cols));
        if due != found {
            return Err(Error::invalid(format!("copy: from a rectangle {due:?} to a rectangle {found:?}")));
        }
        self.0.execute(Op::Copy { from: ids(from), to: (to.row, to.col) }, to.tensor.id)
    }

    /// `xᵀ`
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn transpose(&self, x: &Tensor) -> Result<Tensor> {
        self.make(x.cols, x.rows, Op::Transpose { x: x.id })
    }

    /// The diagonal of a square matrix, `[1, cols]`.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn diagonal(&self, x: &Tensor) -> Result<Tensor> {
        self.make(1, x.cols, Op::Diagonal { x: x.id })
    }

    /// A square matrix plus a diagonal one, given as `[1, cols]`.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn add_diagonal(&self, x: &Tensor, diagonal: &Tensor) -> Result<Tensor> {
        let sum = self.map(Unary::Identity, x)?;
        self.0.execute(Op::AddDiagonal { d: diagonal.id }, sum.id)?;
        Ok(sum)
    }

    /// `x` with the order of its rows and of its columns reversed, in `x`'s memory where the device can.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn reverse(&self, x: Tensor) -> Result<Tensor> {
        self.0.execute(Op::Reverse {}, x.id)?;
        Ok(x)
    }

    /// The lower triangular `L` with `L Lᵀ = x`, in `x`'s memory where the device can. Only the lower half of `x` is
    /// read.
    ///
    /// # Errors
    /// As [`Device::map`]; [`Code::Numeric`](crate::Code::Numeric) where `x` is not positive definite.
    pub fn cholesky(&self, x: Tensor) -> Result<Tensor> {
        self.0.execute(Op::Cholesky {}, x.id)?;
        Ok(x)
    }

    /// The eigenvalues of a symmetric matrix in ascending order, `[1, n]`, and their eigenvectors, of length 1 and of either
    /// sign, one a row, `[n, n]`. Only the lower half of `x` is read. Computed by the host in double precision, on a GPU
    /// device too.
    ///
    /// The singular vectors of any matrix `m` follow: those of the right are the eigenvectors of `mᵀ m`.
    ///
    /// # Errors
    /// As [`Device::map`]; an entry that is NaN or infinite.
    pub fn symmetric_eigen(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let found = self.make(x.rows + 1, x.cols, Op::SymmetricEigen { x: x.id })?;
        let (mut values, mut vectors) =
            (self.zeros(DType::F32, 1, x.cols)?, self.zeros(DType::F32, x.rows, x.cols)?);
        self.copy(found.block(0..1, 0..x.cols), values.view_mut())?;
        self.copy(found.block(1..x.rows + 1, 0..x.cols), vectors.view_mut())?;
        Ok((values, vectors))
    }

    /// `L⁻¹` of a lower triangular `l`, in `l`'s memory where the device can.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn triangular_inverse(&self, l: Tensor) -> Result<Tensor> {
        self.0.execute(Op::TriangularInverse {}, l.id)?;
        Ok(l)
    }

    /// `L⁻¹ b`, or `L⁻ᵀ b` if `transposed`, of a lower triangular `l`.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn triangular_solve(&self, l: &Tensor, transposed: bool, b: &Tensor) -> Result<Tensor> {
        let x = self.map(Unary::Identity, b)?;
        self.0.execute(Op::TriangularSolve { l: l.id, transposed }, x.id)?;
        Ok(x)
    }

    /// The value at place `k`, from 0, of the sorted scores, none of which may be negative: `[rows, 1]` within
    /// each row, `[1, 1]` over the whole matrix.
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn kth_smallest<'a>(
        &self,
        scores: impl Into<Scores<'a>>,
        within: Within,
        k: usize,
    ) -> Result<Tensor> {
        let scores = scores.into();
        let rows = if within == Within::EachRow { scores.a.rows } else { 1 };
        self.make(rows, 1, Op::KthSmallest { scores: scores.map(|tensor| tensor.id), within, k })
    }

    /// The scores that are at most their threshold, `[1, 1]` or `[rows, 1]`. All that are equal to it are among them: to
    /// prune exactly a share, however many scores are equal, use [`Device::select`].
    ///
    /// # Errors
    /// As [`Device::map`].
    pub fn at_most<'a>(&self, scores: impl Into<Scores<'a>>, thresholds: &Tensor) -> Result<Mask> {
        self.mask(scores.into(), |scores| Op::AtMost { scores, thresholds: thresholds.id })
    }

    /// Runs a kernel of the plugin's own: `reads` are bound in order to its [`Access::Read`] bindings,
    /// `writes` to its [`Access::Write`] bindings. `params` are the bytes of its `var<immediate>` block, at
    /// most 128.
    ///
    /// # Errors
    /// As [`Device::map`]; [`Code::Unsupported`](crate::Code::Unsupported) on a CPU device where the kernel
    /// has no CPU twin, and where a tensor is larger than the device can bind.
    pub fn run(
        &self,
        kernel: &Kernel,
        reads: &[&Tensor],
        writes: &mut [&mut Tensor],
        params: &[u8],
        workgroups: usize,
    ) -> Result<()> {
        let (mut read, mut written) = (reads.iter(), writes.iter());
        let bindings = kernel.bindings.iter().map(|access| match access {
            Access::Read => read.next().map(|tensor| tensor.id),
            Access::Write => written.next().map(|tensor| tensor.id),
        });
        let bindings: Option<Vec<_>> = bindings.collect();
        let (Some(bindings), None, None) = (bindings, read.next(), written.next()) else {
            let (name, reads, writes) = (kernel.name, reads.len(), writes.len());
            return Err(Error::invalid(format!(
                "the kernel {name} is given {reads} tensors to read and {writes} to write, which are not its bindings"
            )));
        };
        let workgroups = u32::try_from(workgroups)
            .map_err(|_| Error::invalid(format!("{workgroups} workgroups for the kernel {}", kernel.name)))?;
        let twin = kernel.cpu;
        let call = move |buffers: &mut [Buffer<'_>], params: &[u8]| match twin {
            Some(twin) => twin(buffers, params),
            None => Ok(()),
        };
        let call = KernelCall {
            name: kernel.name,
            wgsl: kernel.wgsl,
            bindings: kernel.bindings,
            cpu: if twin.is_some() { Some(&call) } else { None },
        };
        self.0.run(&call, &bindings, params, workgroups)
    }

    /// The service behind it.
    pub(crate) fn service(&self) -> Arc<dyn DeviceService> {
        Arc::clone(&self.0)
    }

    /// A tensor that came over the border; `owned` if it is to be freed with the value.
    pub(crate) fn known(&self, handle: TensorHandle, owned: bool) -> Tensor {
        self.tensor(handle.id, owned, handle.dtype, handle.rows, handle.cols)
    }

    /// A tensor that lives on this device already; `owned` if it is to be freed with the value.
    fn tensor(&self, id: TensorId, owned: bool, dtype: DType, rows: usize, cols: usize) -> Tensor {
        Tensor::of(&self.0, id, owned, dtype, (rows, cols))
    }

    fn mask(
        &self,
        scores: Scores,
        op: impl FnOnce(espalier_ops::Scores<TensorId>) -> Op<TensorId>,
    ) -> Result<Mask> {
        let (rows, cols) = (scores.a.rows, scores.a.cols);
        let words = self.zeros(DType::U32, rows, cols.div_ceil(32))?;
        self.0.execute(op(scores.map(|tensor| tensor.id)), words.id)?;
        Ok(Mask { words, cols })
    }

    fn make(&self, rows: usize, cols: usize, op: Op<TensorId>) -> Result<Tensor> {
        let out = self.zeros(DType::F32, rows, cols)?;
        self.0.execute(op, out.id)?;
        Ok(out)
    }
}

/// A view as the device knows it.
fn ids(view: View) -> Block<TensorId> {
    let View { tensor, row, col, rows, cols, transposed } = view;
    Block { tensor: tensor.id, row, col, rows, cols, transposed }
}
