//! The host's device, as plugins use it: tensors by number.

use super::{scores::ScoreWatch, twins::Twins};
use bytes::Bytes;
use espalier_base::interrupt;
use espalier_device::{Binding, DType, Device, DeviceError, DeviceKind, Tensor};
use espalier_sdk::{
    Access, Buffer, Code, Error, Result,
    message::TensorHandle,
    service::{DeviceService, KernelCall, Op, Packed, TensorId},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A tensor that the host and the table of a call share.
pub type Shared = Arc<RwLock<Tensor>>;

/// A tensor in the table.
#[derive(Clone)]
struct KnownTensor {
    tensor: Shared,
    /// Lent by the host: a plugin reads it, and neither writes nor frees it.
    lent: bool,
}

/// A device whose tensors plugins name by number. Numbers are never used twice, so a tensor that a
/// plugin keeps for too long is unknown, not another one.
pub struct DeviceTensors {
    device: Arc<dyn Device>,
    tensors: Mutex<HashMap<TensorId, KnownTensor>>,
    next: AtomicU64,
    twins: Twins,
    watch: ScoreWatch,
}

impl fmt::Debug for DeviceTensors {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("DeviceTensors").finish_non_exhaustive()
    }
}

impl DeviceTensors {
    /// An empty table over a device.
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self {
            device,
            tensors: Mutex::default(),
            next: AtomicU64::new(1),
            twins: Twins::default(),
            watch: ScoreWatch::default(),
        }
    }

    /// Lends a tensor to the plugin, to be read until [`clear`](DeviceTensors::clear).
    pub fn lend(&self, tensor: &Shared) -> TensorHandle {
        self.enter(KnownTensor { tensor: Arc::clone(tensor), lent: true })
    }

    /// Gives a tensor to the plugin, which frees it.
    pub fn give(&self, tensor: Tensor) -> TensorHandle {
        self.enter(KnownTensor { tensor: Arc::new(RwLock::new(tensor)), lent: false })
    }

    fn enter(&self, entry: KnownTensor) -> TensorHandle {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let handle = {
            let tensor = entry.tensor.read().unwrap_or_else(PoisonError::into_inner);
            TensorHandle { id, dtype: tensor.dtype(), rows: tensor.rows(), cols: tensor.cols() }
        };
        self.table().insert(id, entry);
        handle
    }

    /// Takes a tensor that the plugin made, or a copy of one that was lent to it.
    ///
    /// # Errors
    /// There is no tensor of this id, or an operation is using it.
    pub fn take(&self, id: TensorId) -> Result<Tensor> {
        let entry = self.get(id)?;
        if entry.lent {
            let lent = self.reading(id, &entry)?;
            let copy = || {
                let mut copy = self.device.zeros(lent.dtype(), lent.rows(), lent.cols())?;
                self.device.execute(espalier_device::Op::CopyRows { x: &*lent, start: 0 }, &mut copy)?;
                Ok::<_, DeviceError>(copy)
            };
            return Ok(copy()?);
        }
        self.table().remove(&id);
        Arc::try_unwrap(entry.tensor)
            .map(|lock| lock.into_inner().unwrap_or_else(PoisonError::into_inner))
            .map_err(|_| Error::invalid(format!("tensor {id} is in use")))
    }

    /// A tensor that the plugin names, to be read.
    ///
    /// # Errors
    /// There is no tensor of this id.
    pub fn share(&self, id: TensorId) -> Result<Shared> {
        Ok(self.get(id)?.tensor)
    }

    /// Whether the scores that the plugin ranked since the last answer could be ranked.
    ///
    /// # Errors
    /// One was negative, NaN or infinite, or the device failed.
    pub fn check_scores(&self) -> Result<()> {
        self.watch.answer(&*self.device)
    }

    /// Takes back what was lent under these numbers; with none given, all that was lent.
    pub fn take_back(&self, only: Option<&[TensorId]>) {
        let is_due = |id: &TensorId| only.is_none_or(|only| only.contains(id));
        self.table().retain(|id, entry| !(entry.lent && is_due(id)));
    }

    /// Ends the call: takes back what was lent, and frees what the plugin forgot to give back.
    pub fn clear(&self) {
        self.table().clear();
    }

    // No code panics while it holds the table, so a poisoned one is whole.
    fn table(&self) -> MutexGuard<'_, HashMap<TensorId, KnownTensor>> {
        self.tensors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: TensorId) -> Result<KnownTensor> {
        self.table().get(&id).cloned().ok_or_else(|| unknown(id))
    }

    /// The check before every operation that a plugin asks for: none is done for a run that was interrupted, nor
    /// for the CPU twin of a kernel, whose tensors are being used.
    fn admit(&self) -> Result<()> {
        interrupt::check()?;
        match self.twins.on_this_thread() {
            Some(kernel) => Err(twin_asks(&kernel)),
            None => Ok(()),
        }
    }

    /// A tensor to read. Waiting for one that is being written to could be for ever.
    fn reading<'a>(&self, id: TensorId, entry: &'a KnownTensor) -> Result<RwLockReadGuard<'a, Tensor>> {
        match entry.tensor.try_read() {
            Ok(tensor) => Ok(tensor),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(self.busy(id)),
        }
    }

    /// A tensor to write to.
    fn writing<'a>(&self, id: TensorId, entry: &'a KnownTensor) -> Result<RwLockWriteGuard<'a, Tensor>> {
        match entry.tensor.try_write() {
            Ok(tensor) => Ok(tensor),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(self.busy(id)),
        }
    }

    fn busy(&self, id: TensorId) -> Error {
        match self.twins.any() {
            Some(kernel) => twin_asks(&kernel).context(format!("tensor {id}")),
            None => Error::invalid(format!("tensor {id} is used by another operation at the same time")),
        }
    }
}

fn unknown(id: TensorId) -> Error {
    Error::new(Code::InvalidInput, format!("there is no tensor {id} (any more)"))
}

impl DeviceService for DeviceTensors {
    fn name(&self) -> String {
        self.device.info().name.clone()
    }

    fn kind(&self) -> DeviceKind {
        self.device.info().kind
    }

    fn create(&self, dtype: DType, rows: usize, cols: usize) -> Result<TensorId> {
        self.admit()?;
        Ok(self.give(self.device.zeros(dtype, rows, cols)?).id)
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<TensorId> {
        self.admit()?;
        Ok(self.give(self.device.upload(dtype, rows, cols, Bytes::copy_from_slice(bytes))?).id)
    }

    fn read(&self, tensor: TensorId) -> Result<Vec<u8>> {
        self.admit()?;
        let entry = self.get(tensor)?;
        let tensor = self.reading(tensor, &entry)?;
        Ok(self.device.read(&tensor)?)
    }

    fn free(&self, tensor: TensorId) {
        let mut table = self.table();
        if table.get(&tensor).is_some_and(|entry| !entry.lent) {
            table.remove(&tensor);
        }
    }

    fn execute(&self, op: Op<TensorId>, out: TensorId) -> Result<()> {
        self.admit()?;
        let Packed { name, tensors, numbers } = op.pack();
        if tensors.contains(&out) {
            return Err(Error::invalid(format!("tensor {out} is both an input and the output")));
        }
        let entries = tensors.iter().map(|&id| self.get(id)).collect::<Result<Vec<_>>>()?;
        let written = self.get(out)?;
        if written.lent {
            return Err(Error::invalid(format!("tensor {out} is lent by the host for reading")));
        }
        let guards = tensors.iter().zip(&entries).map(|(&id, entry)| self.reading(id, entry));
        let guards = guards.collect::<Result<Vec<_>>>()?;
        let tensors: Vec<&Tensor> = guards.iter().map(|guard| &**guard).collect();
        let op = Op::unpack(name, &tensors, &numbers)?;
        if let Op::Select { scores, .. } | Op::SelectCounts { scores, .. } | Op::KthSmallest { scores, .. } =
            &op
        {
            let lent = || tensors.iter().zip(&entries).filter(|(_, entry)| entry.lent);
            let is_lent = |tensor: &Tensor| lent().any(|(known, _)| std::ptr::eq(*known, tensor));
            self.watch.see(&*self.device, scores, is_lent)?;
        }
        Ok(self.device.execute(op, &mut *self.writing(out, &written)?)?)
    }

    fn run(&self, kernel: &KernelCall, bindings: &[TensorId], params: &[u8], workgroups: u32) -> Result<()> {
        self.admit()?;
        if bindings.len() != kernel.bindings.len() {
            let (name, due, given) = (kernel.name, kernel.bindings.len(), bindings.len());
            return Err(Error::invalid(format!("the kernel {name} has {due} bindings, not {given}")));
        }
        let mut entries = Vec::with_capacity(bindings.len());
        for (at, (&id, access)) in bindings.iter().zip(kernel.bindings).enumerate() {
            let entry = self.get(id)?;
            if bindings[..at].contains(&id) {
                return Err(Error::invalid(format!(
                    "tensor {id} is bound twice to the kernel {}",
                    kernel.name
                )));
            }
            if entry.lent && *access == Access::Write {
                return Err(Error::invalid(format!("tensor {id} is lent by the host for reading")));
            }
            entries.push(entry);
        }
        let mut guards = Vec::with_capacity(bindings.len());
        for ((&id, entry), access) in bindings.iter().zip(&entries).zip(kernel.bindings) {
            guards.push(match access {
                Access::Read => Guard::Read(self.reading(id, entry)?),
                Access::Write => Guard::Write(self.writing(id, entry)?),
            });
        }
        let mut bindings: Vec<_> = guards
            .iter_mut()
            .map(|guard| match guard {
                Guard::Read(tensor) => Binding::Read(tensor),
                Guard::Write(tensor) => Binding::Write(tensor),
            })
            .collect();
        let Some(twin) = kernel.cpu else {
            return Ok(self.device.run(kernel, &mut bindings, params, workgroups)?);
        };
        let twin = |buffers: &mut [Buffer<'_>], params: &[u8]| {
            let _running = self.twins.enter(kernel.name);
            twin(buffers, params)
        };
        let kernel = KernelCall { cpu: Some(&twin), ..*kernel };
        Ok(self.device.run(&kernel, &mut bindings, params, workgroups)?)
    }
}

/// The error of a CPU twin that asks the device.
fn twin_asks(kernel: &str) -> Error {
    Error::invalid(format!(
        "the CPU twin of kernel {kernel} called the device; it computes with the buffers that it is given alone"
    ))
}

/// A bound tensor for the length of a kernel's run.
enum Guard<'a> {
    Read(RwLockReadGuard<'a, Tensor>),
    Write(RwLockWriteGuard<'a, Tensor>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_device::choose::{self, DeviceChoice, DeviceRequest};
    use std::thread;

    fn tensors() -> DeviceTensors {
        let request = DeviceRequest { choice: DeviceChoice::Cpu, ..DeviceRequest::default() };
        DeviceTensors::new(choose::open(&request).unwrap())
    }

    /// Runs a kernel over one tensor with this twin.
    fn run(tensors: &DeviceTensors, x: TensorId, twin: &dyn Fn() -> Result<()>) -> Result<()> {
        let twin = |_: &mut [Buffer<'_>], _: &[u8]| twin();
        let kernel = KernelCall { name: "odd", wgsl: "", bindings: &[Access::Write], cpu: Some(&twin) };
        DeviceService::run(tensors, &kernel, &[x], &[], 1)
    }

    #[test]
    fn a_twin_that_asks_the_device_is_told_so() {
        let tensors = tensors();
        let x = tensors.create(DType::F32, 1, 4).unwrap();
        let asks: [&dyn Fn() -> Result<()>; 4] = [
            &|| tensors.read(x).map(|_| ()),
            &|| tensors.create(DType::F32, 1, 1).map(|_| ()),
            &|| tensors.execute(Op::Reverse {}, x),
            // From a thread of its own, which the twin waits for.
            &|| thread::scope(|scope| scope.spawn(|| tensors.execute(Op::Reverse {}, x)).join().unwrap()),
        ];
        for ask in asks {
            let error = run(&tensors, x, ask).unwrap_err();
            assert!(error.to_string().contains("the CPU twin of kernel odd called the device"), "{error}");
        }
        run(&tensors, x, &|| Ok(())).unwrap();
        tensors.execute(Op::Reverse {}, x).unwrap();
    }

    #[test]
    fn another_thread_may_use_other_tensors_meanwhile() {
        let tensors = tensors();
        let (x, y) = (tensors.create(DType::F32, 1, 4).unwrap(), tensors.create(DType::F32, 2, 2).unwrap());
        let other =
            || thread::scope(|scope| scope.spawn(|| tensors.execute(Op::Reverse {}, y)).join().unwrap());
        run(&tensors, x, &other).unwrap();
    }

    #[test]
    fn a_twin_that_panics_is_forgotten() {
        let tensors = tensors();
        let x = tensors.create(DType::F32, 1, 4).unwrap();
        let fell = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&tensors, x, &|| panic!("the twin fell"))
        }));
        assert!(fell.is_err());
        assert_eq!(tensors.read(x).unwrap(), [0; 16]);
    }
}
