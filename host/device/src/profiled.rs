//! A device whose operations are timed: each becomes a span of [`profile`], with the floating-point
//! operations and the bytes it works on. On a GPU every operation is waited for, so that its time is its own: the run
//! as a whole is slower for it. A GPU that has timestamps says itself how long its kernels ran; of others, and of
//! copies, the time is the host's, around the wait.

use super::{
    Binding, DType, Device, DeviceInfo, DeviceKind, Input, KernelCall, LinearLayer, Onto, Op, PackedMatrix,
    Result, Tensor,
};
use bytes::Bytes;
use espalier_base::profile::{self, Kind};
use espalier_ops::Work;
use std::{fmt, sync::Arc};

/// A device whose operations are timed.
pub struct Profiled(Arc<dyn Device>);

impl fmt::Debug for Profiled {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Profiled").finish_non_exhaustive()
    }
}

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

    fn upload_packed(&self, packed: PackedMatrix) -> Result<Tensor> {
        let work = Work { flops: 0.0, bytes: packed.bytes() as f64 };
        self.timed(Kind::Transfer, "upload", work, |device| device.upload_packed(packed))
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

    fn compute(&self, op: Op<&Tensor>, out: &mut Tensor) -> Result<()> {
        let (name, work) = (op.name(), op.work(out));
        self.timed(Kind::Kernel, name, work, |device| device.compute(op, out))
    }

    fn compute_linears(&self, input: Input, layers: &mut [LinearLayer]) -> Result<()> {
        let each = |x: &Tensor| x.elements() as f64;
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
        self.timed(Kind::Kernel, "linear", work, |device| device.compute_linears(input, layers))
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
