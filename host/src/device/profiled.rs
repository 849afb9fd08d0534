//! A device whose operations are timed: each becomes a span of [`profile`], with the floating-point
//! operations and the bytes it works on. On a GPU every operation is waited for, so that its time is its own: the run
//! as a whole is slower for it. A GPU that has timestamps says itself how long its kernels ran; of others, and of
//! copies, the time is the host's, around the wait.

use super::{
    AttentionShape, Axis, Binary, Binding, DType, Device, DeviceInfo, DeviceKind, Input, KernelCall,
    LinearLayer, Onto, Operand, Reduction, Result, Scores, Selection, Span, Tensor, Unary, Within,
};
use crate::profile::{self, Kind, Work};
use bytes::Bytes;
use std::sync::Arc;

/// A device whose operations are timed.
pub struct Profiled(Arc<dyn Device>);

impl Profiled {
    /// Times the operations of `device`, from now on by its own clock if it has one.
    ///
    /// # Errors
    /// The device failed.
    pub fn new(device: Arc<dyn Device>) -> Result<Self> {
        device.time_kernels()?;
        Ok(Self(device))
    }

    fn timed<T>(
        &self,
        kind: Kind,
        name: &str,
        work: Work,
        operation: impl FnOnce(&dyn Device) -> Result<T>,
    ) -> Result<T> {
        let mut span = profile::span(kind, work, || name.to_owned());
        let result = operation(&*self.0)?;
        if self.0.info().kind == DeviceKind::Gpu {
            self.0.synchronize()?;
            // A transfer may go on beside another thread's kernels, whose time is not its own.
            if kind == Kind::Kernel
                && let Some(seconds) = self.0.kernel_seconds()
            {
                span.measured(seconds);
            }
        }
        Ok(result)
    }

    fn kernel(
        &self,
        name: &str,
        flops: f64,
        tensors: &[&Tensor],
        out: &mut Tensor,
        operation: impl FnOnce(&dyn Device, &mut Tensor) -> Result<()>,
    ) -> Result<()> {
        let bytes = tensors.iter().map(|tensor| tensor.bytes()).sum::<usize>() + out.bytes();
        let work = Work { flops, bytes: bytes as f64 };
        self.timed(Kind::Kernel, name, work, |device| operation(device, out))
    }

    /// What is read is written over.
    fn in_place(
        &self,
        name: &str,
        flops: f64,
        x: &mut Tensor,
        operation: impl FnOnce(&dyn Device, &mut Tensor) -> Result<()>,
    ) -> Result<()> {
        let work = Work { flops, bytes: 2.0 * x.bytes() as f64 };
        self.timed(Kind::Kernel, name, work, |device| operation(device, x))
    }
}

/// One operation an element.
fn each(x: &Tensor) -> f64 {
    x.elements() as f64
}

/// What is read to rank scores.
fn ranked<'a>(scores: &Scores<'a>) -> Vec<&'a Tensor> {
    std::iter::once(scores.a).chain(scores.by.map(|(_, by)| by)).collect()
}

/// `n³ / 3` of a square matrix.
fn cubic(x: &Tensor) -> f64 {
    (x.rows() as f64).powi(3) / 3.0
}

/// Scores and mixtures of every query with the keys that it sees.
fn attention_flops(shape: &AttentionShape, spans: &[Span]) -> f64 {
    let pairs = spans.iter().map(|span| {
        let (queries, keys) = (span.queries as f64, span.keys as f64);
        let seen = keys - (queries - 1.0) / 2.0;
        queries * shape.window.map_or(seen, |window| seen.min(window as f64))
    });
    4.0 * (shape.heads * shape.head_dim) as f64 * pairs.sum::<f64>()
}

impl Device for Profiled {
    fn info(&self) -> &DeviceInfo {
        self.0.info()
    }

    fn zeros(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
        self.timed(Kind::Kernel, "zeros", Work::default(), |device| device.zeros(dtype, rows, cols))
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: Bytes) -> Result<Tensor> {
        let work = Work { flops: 0.0, bytes: bytes.len() as f64 };
        self.timed(Kind::Transfer, "upload", work, |device| device.upload(dtype, rows, cols, bytes))
    }

    fn read(&self, x: &Tensor) -> Result<Vec<u8>> {
        let work = Work { flops: 0.0, bytes: x.bytes() as f64 };
        self.timed(Kind::Transfer, "read", work, |device| device.read(x))
    }

    fn synchronize(&self) -> Result<()> {
        self.0.synchronize()
    }

    fn time_kernels(&self) -> Result<bool> {
        self.0.time_kernels()
    }

    fn kernel_seconds(&self) -> Option<f64> {
        self.0.kernel_seconds()
    }

    fn peak_bytes(&self) -> u64 {
        self.0.peak_bytes()
    }

    fn set_budget(&self, bytes: Option<u64>) {
        self.0.set_budget(bytes);
    }

    fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    fn is_stuck(&self) -> bool {
        self.0.is_stuck()
    }

    fn reopen(&self) -> Result<Arc<dyn Device>> {
        Ok(Arc::new(Self::new(self.0.reopen()?)?))
    }

    fn convert(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        self.kernel("convert", 0.0, &[x], out, |device, out| device.convert(x, out))
    }

    fn copy_rows(&self, x: &Tensor, start: usize, out: &mut Tensor) -> Result<()> {
        // As much is read as written.
        let work = Work { flops: 0.0, bytes: 2.0 * out.bytes() as f64 };
        self.timed(Kind::Kernel, "copy_rows", work, |device| device.copy_rows(x, start, out))
    }

    fn scatter_rows(&self, x: &Tensor, places: &Tensor, out: &mut Tensor) -> Result<()> {
        let work = Work { flops: 0.0, bytes: 2.0 * x.bytes() as f64 };
        self.timed(Kind::Kernel, "scatter_rows", work, |device| device.scatter_rows(x, places, out))
    }

    fn linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()> {
        let mut flops = if input.norm.is_some() { 4.0 * each(input.x) } else { 0.0 };
        let mut bytes = input.x.bytes();
        for layer in &*layers {
            let gate = if let Onto::Gate { weight, .. } = layer.onto { Some(weight) } else { None };
            for weight in gate.into_iter().chain([layer.weight]) {
                flops += 2.0 * each(input.x) * weight.rows() as f64;
                bytes += weight.bytes() + layer.y.bytes();
            }
            if gate.is_some() {
                flops += 4.0 * each(layer.y);
            }
        }
        let work = Work { flops, bytes: bytes as f64 };
        self.timed(Kind::Kernel, "linear", work, |device| device.linears(input, layers))
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32, y: &mut Tensor) -> Result<()> {
        self.kernel("rms_norm", 4.0 * each(x), &[x], y, |device, y| device.rms_norm(x, weight, eps, y))
    }

    fn rope(&self, x: &mut Tensor, head_dim: usize, table: &Tensor, positions: &Tensor) -> Result<()> {
        let flops = 3.0 * each(x);
        self.kernel("rope", flops, &[], x, |device, x| device.rope(x, head_dim, table, positions))
    }

    fn attention(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        shape: &AttentionShape,
        spans: &[Span],
        out: &mut Tensor,
    ) -> Result<()> {
        let flops = attention_flops(shape, spans);
        self.kernel("attention", flops, &[q, k, v], out, |device, out| {
            device.attention(q, k, v, shape, spans, out)
        })
    }

    fn cross_entropy(&self, logits: &Tensor, targets: &Tensor, loss: &mut Tensor) -> Result<()> {
        self.kernel("cross_entropy", 3.0 * each(logits), &[logits], loss, |device, loss| {
            device.cross_entropy(logits, targets, loss)
        })
    }

    fn js_divergence(&self, a: &Tensor, b: &Tensor, out: &mut Tensor) -> Result<()> {
        self.kernel("js_divergence", 10.0 * each(a), &[a, b], out, |device, out| {
            device.js_divergence(a, b, out)
        })
    }

    fn map(&self, f: Unary, x: &Tensor, scale: f32, shift: f32, out: &mut Tensor) -> Result<()> {
        self.kernel("map", 2.0 * each(x), &[x], out, |device, out| device.map(f, x, scale, shift, out))
    }

    fn zip(&self, f: Unary, a: &Tensor, op: Binary, alpha: f32, b: &Tensor, out: &mut Tensor) -> Result<()> {
        self.kernel("zip", 2.0 * each(a), &[a, b], out, |device, out| device.zip(f, a, op, alpha, b, out))
    }

    fn reduce(&self, f: Reduction, axis: Axis, x: &Tensor, accumulate: bool, out: &mut Tensor) -> Result<()> {
        self.kernel("reduce", 2.0 * each(x), &[x], out, |device, out| {
            device.reduce(f, axis, x, accumulate, out)
        })
    }

    fn select(&self, scores: Scores, selection: Selection, mask: &mut Tensor) -> Result<()> {
        self.kernel("select", 0.0, &ranked(&scores), mask, |device, mask| {
            device.select(scores, selection, mask)
        })
    }

    fn zero_where(&self, mask: &Tensor, x: &mut Tensor) -> Result<()> {
        self.kernel("zero_where", 0.0, &[mask], x, |device, x| device.zero_where(mask, x))
    }

    fn kth_smallest(&self, scores: Scores, within: Within, k: usize, out: &mut Tensor) -> Result<()> {
        self.kernel("kth_smallest", 0.0, &ranked(&scores), out, |device, out| {
            device.kth_smallest(scores, within, k, out)
        })
    }

    fn at_most(&self, scores: Scores, thresholds: &Tensor, mask: &mut Tensor) -> Result<()> {
        self.kernel("at_most", 0.0, &ranked(&scores), mask, |device, mask| {
            device.at_most(scores, thresholds, mask)
        })
    }

    fn gram(&self, x: &Tensor, gram: &mut Tensor) -> Result<()> {
        // One half and the diagonal.
        let flops = each(x) * (x.cols() + 1) as f64;
        self.kernel("gram", flops, &[x], gram, |device, gram| device.gram(x, gram))
    }

    fn matmul(
        &self,
        alpha: f32,
        a: Operand,
        b: Operand,
        beta: f32,
        c: &mut Tensor,
        to: (usize, usize),
    ) -> Result<()> {
        let ((rows, inner), (_, cols)) = (a.shape(), b.shape());
        let elements = rows * inner + inner * cols + 2 * rows * cols;
        let work = Work { flops: 2.0 * (rows * inner) as f64 * cols as f64, bytes: 4.0 * elements as f64 };
        self.timed(Kind::Kernel, "matmul", work, |device| device.matmul(alpha, a, b, beta, c, to))
    }

    fn copy(&self, from: Operand, out: &mut Tensor, to: (usize, usize)) -> Result<()> {
        let bytes = 2 * from.rows.len() * from.cols.len() * from.tensor.dtype().size();
        let work = Work { flops: 0.0, bytes: bytes as f64 };
        self.timed(Kind::Kernel, "copy", work, |device| device.copy(from, out, to))
    }

    fn transpose(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        self.kernel("transpose", 0.0, &[x], out, |device, out| device.transpose(x, out))
    }

    fn reverse(&self, x: &mut Tensor) -> Result<()> {
        self.in_place("reverse", 0.0, x, |device, x| device.reverse(x))
    }

    fn diagonal(&self, x: &Tensor, out: &mut Tensor) -> Result<()> {
        let work = Work { flops: 0.0, bytes: 2.0 * out.bytes() as f64 };
        self.timed(Kind::Kernel, "diagonal", work, |device| device.diagonal(x, out))
    }

    fn add_diagonal(&self, d: &Tensor, x: &mut Tensor) -> Result<()> {
        let work = Work { flops: each(d), bytes: 3.0 * d.bytes() as f64 };
        self.timed(Kind::Kernel, "add_diagonal", work, |device| device.add_diagonal(d, x))
    }

    fn cholesky(&self, x: &mut Tensor) -> Result<()> {
        self.in_place("cholesky", cubic(x), x, |device, x| device.cholesky(x))
    }

    fn triangular_inverse(&self, l: &mut Tensor) -> Result<()> {
        self.in_place("triangular_inverse", cubic(l), l, |device, l| device.triangular_inverse(l))
    }

    fn triangular_solve(&self, l: &Tensor, transposed: bool, b: &mut Tensor) -> Result<()> {
        let flops = each(b) * l.rows() as f64;
        self.kernel("triangular_solve", flops, &[l], b, |device, b| device.triangular_solve(l, transposed, b))
    }

    fn run(
        &self,
        kernel: &KernelCall,
        bindings: &mut [Binding],
        params: &[u8],
        workgroups: u32,
    ) -> Result<()> {
        let bytes = bindings.iter().map(|binding| match binding {
            Binding::Read(tensor) => tensor.bytes(),
            Binding::Write(tensor) => tensor.bytes(),
        });
        let work = Work { flops: 0.0, bytes: bytes.sum::<usize>() as f64 };
        self.timed(Kind::Kernel, kernel.name, work, |device| device.run(kernel, bindings, params, workgroups))
    }
}
