//! The plain device: its tensors, and the checks around every operation.

use super::compute::compute;
use crate::{
    Access, Buffer, Code, DType, Device, DeviceKind, Error, Result,
    service::{DeviceService, KernelCall, Op, TensorId},
};
use espalier_ops::Matrix;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A tensor of f32 or u32.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    dtype: DType,
    rows: usize,
    cols: usize,
    /// The elements' bits.
    pub(super) words: Vec<u32>,
}

impl Matrix for Plain {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }
}

impl Plain {
    /// An element of an f32 tensor.
    pub(super) fn at(&self, row: usize, col: usize) -> f32 {
        f32::from_bits(self.words[row * self.cols + col])
    }

    /// Writes an element of an f32 tensor.
    pub(super) fn set(&mut self, row: usize, col: usize, value: f32) {
        self.words[row * self.cols + col] = value.to_bits();
    }
}

/// The tensors, by id.
#[derive(Default)]
struct Tensors {
    last: TensorId,
    known: HashMap<TensorId, Arc<Plain>>,
}

struct PlainDevice(Mutex<Tensors>);

pub(super) fn new() -> Device {
    Device::new(Arc::new(PlainDevice(Mutex::default())))
}

impl PlainDevice {
    fn tensors(&self) -> MutexGuard<'_, Tensors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: TensorId) -> Result<Arc<Plain>> {
        let known = self.tensors().known.get(&id).cloned();
        known.ok_or_else(|| Error::invalid(format!("tensor {id} does not exist, or was freed")))
    }

    fn keep(&self, tensor: Plain) -> TensorId {
        let mut tensors = self.tensors();
        tensors.last += 1;
        let id = tensors.last;
        tensors.known.insert(id, Arc::new(tensor));
        id
    }

    fn replace(&self, id: TensorId, tensor: Plain) {
        self.tensors().known.insert(id, Arc::new(tensor));
    }
}

impl DeviceService for PlainDevice {
    fn name(&self) -> String {
        "the plain device of espalier_sdk::testing".to_owned()
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }

    fn create(&self, dtype: DType, rows: usize, cols: usize) -> Result<TensorId> {
        self.upload(dtype, rows, cols, &vec![0; rows * cols * 4])
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<TensorId> {
        if !matches!(dtype, DType::F32 | DType::U32) {
            let message = format!("{} holds tensors of f32 and u32, not of {dtype}", self.name());
            return Err(Error::new(Code::Unsupported, message));
        }
        if bytes.len() != rows * cols * 4 {
            return Err(Error::invalid(format!(
                "{} bytes for a [{rows}, {cols}] tensor of {dtype}",
                bytes.len()
            )));
        }
        Ok(self.keep(Plain { dtype, rows, cols, words: bytemuck::pod_collect_to_vec(bytes) }))
    }

    fn read(&self, tensor: TensorId) -> Result<Vec<u8>> {
        Ok(bytemuck::cast_slice(&self.get(tensor)?.words).to_vec())
    }

    fn free(&self, tensor: TensorId) {
        self.tensors().known.remove(&tensor);
    }

    fn execute(&self, op: Op<TensorId>, out: TensorId) -> Result<()> {
        let packed = op.pack();
        if packed.tensors.contains(&out) {
            return Err(Error::invalid(format!(
                "tensor {out} is both an input and the output of `{}`",
                op.name()
            )));
        }
        let inputs = packed.tensors.iter().map(|&id| self.get(id)).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<&Plain> = inputs.iter().map(|input| &**input).collect();
        let mut written = Plain::clone(&*self.get(out)?);
        let name = op.name();
        let op = Op::unpack(packed.name, &inputs, &packed.numbers)?;
        op.check(&written).map_err(|error| Error::invalid(error.to_string()).context(name))?;
        compute(&op, &mut written).map_err(|error| error.context(name))?;
        self.replace(out, written);
        Ok(())
    }

    fn run(&self, kernel: &KernelCall, bindings: &[TensorId], params: &[u8], workgroups: u32) -> Result<()> {
        let named = |message: String| Error::invalid(message).context(format!("kernel {}", kernel.name));
        if bindings.len() != kernel.bindings.len() {
            let (due, given) = (kernel.bindings.len(), bindings.len());
            return Err(named(format!("{due} bindings are declared and {given} are given")));
        }
        if let Some(at) = (0..bindings.len()).find(|&at| bindings[..at].contains(&bindings[at])) {
            return Err(named(format!("binding {at} is a tensor that is bound before")));
        }
        if !params.len().is_multiple_of(4) {
            return Err(named(format!("{} bytes of parameters are not a multiple of 4", params.len())));
        }
        if workgroups == 0 {
            return Err(named("0 workgroups do nothing".to_owned()));
        }
        let Some(twin) = kernel.cpu else {
            let message = format!("the kernel {} has no CPU twin", kernel.name);
            return Err(Error::new(Code::Unsupported, message));
        };
        let tensors = bindings.iter().map(|&id| self.get(id)).collect::<Result<Vec<_>>>()?;
        let mut tensors: Vec<Plain> = tensors.iter().map(|tensor| Plain::clone(tensor)).collect();
        let mut buffers: Vec<Buffer> = tensors
            .iter_mut()
            .zip(kernel.bindings)
            .map(|(tensor, access)| match access {
                Access::Read => Buffer::Read(&tensor.words),
                Access::Write => Buffer::Write(&mut tensor.words),
            })
            .collect();
        twin(&mut buffers, params)?;
        drop(buffers);
        for ((tensor, &id), access) in tensors.into_iter().zip(bindings).zip(kernel.bindings) {
            if *access == Access::Write {
                self.replace(id, tensor);
            }
        }
        Ok(())
    }
}
