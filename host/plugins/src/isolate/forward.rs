//! Device and host in the child: every call goes to the host and back.

use super::{
    channel::Channel,
    memory::{Mapped, places},
    message::{FromChild, KernelMessage, Reply, Request, ToChild},
};
use espalier_sdk::{
    Access, Buffer, Code, DType, DeviceKind, Error, Result,
    message::{HostCall, HostReply, HostService},
    service::{DeviceService, KernelCall, Op, Packed, TensorId},
};
use std::{
    fmt::Debug,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The child's ends of what it shares with the host. Whoever asks has both until the answer is there.
pub(super) struct Link {
    pub(super) channel: Channel,
    /// None while a twin works in it: should the twin ask the device, the host answers that it must not.
    pub(super) memory: Option<Mapped>,
}

/// The host and its device, by requests.
pub(super) struct Forward {
    pub(super) link: Arc<Mutex<Link>>,
    pub(super) device: (String, DeviceKind),
}

/// The host's end is gone, so the error cannot be reported.
pub(super) fn gone<T>(_: T) -> ! {
    std::process::exit(1)
}

impl Forward {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ask(&self, request: Request) -> Result<Reply> {
        self.link().ask(request)
    }
}

impl Link {
    fn ask(&mut self, request: Request) -> Result<Reply> {
        self.send(&FromChild::Ask(request));
        match self.receive() {
            ToChild::Reply(reply) => reply,
            other => Err(unexpected(&other)),
        }
    }

    fn send(&self, message: &FromChild) {
        self.channel.send(message).unwrap_or_else(|broken| gone(broken));
    }

    fn receive(&self) -> ToChild {
        self.channel.receive().unwrap_or_else(|broken| gone(broken))
    }
}

pub(super) fn unexpected(message: &impl Debug) -> Error {
    Error::new(Code::Other, format!("the host answers with something else: {message:?}"))
}

fn unshared(error: io::Error) -> Error {
    Error::new(Code::Other, format!("the memory that is shared with the host failed: {error}"))
}

fn tensor(reply: Reply) -> Result<TensorId> {
    match reply {
        Reply::Tensor(tensor) => Ok(tensor),
        other => Err(unexpected(&other)),
    }
}

impl HostService for Forward {
    fn call(&self, call: HostCall) -> Result<HostReply> {
        let json = |error: serde_json::Error| Error::invalid(error.to_string());
        let call = serde_json::to_string(&call).map_err(json)?;
        match self.ask(Request::Host(call))? {
            Reply::Host(reply) => serde_json::from_str(&reply).map_err(json),
            other => Err(unexpected(&other)),
        }
    }
}

impl DeviceService for Forward {
    fn name(&self) -> String {
        self.device.0.clone()
    }

    fn kind(&self) -> DeviceKind {
        self.device.1
    }

    fn create(&self, dtype: DType, rows: usize, cols: usize) -> Result<TensorId> {
        self.ask(Request::Create { dtype, rows, cols }).and_then(tensor)
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<TensorId> {
        let mut link = self.link();
        if let Some(memory) = &mut link.memory {
            memory.bytes(bytes.len()).map_err(unshared)?.copy_from_slice(bytes);
        }
        link.ask(Request::Upload { dtype, rows, cols, bytes: bytes.len() }).and_then(tensor)
    }

    fn read(&self, tensor: TensorId) -> Result<Vec<u8>> {
        let mut link = self.link();
        match (link.ask(Request::Read(tensor))?, &mut link.memory) {
            (Reply::Bytes(bytes), Some(memory)) => Ok(memory.bytes(bytes).map_err(unshared)?.to_vec()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    fn free(&self, tensor: TensorId) {
        self.link().send(&FromChild::Free(tensor));
    }

    fn execute(&self, op: Op<TensorId>, out: TensorId) -> Result<()> {
        let Packed { name, tensors, numbers } = op.pack();
        self.ask(Request::Execute { name: name.to_owned(), tensors, numbers, out }).map(drop)
    }

    fn run(&self, kernel: &KernelCall, bindings: &[TensorId], params: &[u8], workgroups: u32) -> Result<()> {
        let run = KernelMessage {
            name: kernel.name.to_owned(),
            wgsl: kernel.wgsl.to_owned(),
            access: kernel.bindings.to_vec(),
            twin: kernel.cpu.is_some(),
            bindings: bindings.to_vec(),
            params: params.to_vec(),
            workgroups,
        };
        let mut link = self.link();
        link.send(&FromChild::Ask(Request::Run(run)));
        loop {
            match link.receive() {
                ToChild::Reply(reply) => return reply.map(drop),
                ToChild::Twin { words } => {
                    let mut memory = link.memory.take();
                    drop(link);
                    let done = match &mut memory {
                        Some(memory) => twin(kernel, &words, memory, params),
                        None => Err(Error::invalid("another CPU twin is running")),
                    };
                    link = self.link();
                    if memory.is_some() {
                        link.memory = memory;
                    }
                    link.send(&FromChild::TwinDone(done));
                }
                other => return Err(unexpected(&other)),
            }
        }
    }
}

/// Runs a twin on its buffers in the shared memory.
fn twin(kernel: &KernelCall, words: &[usize], memory: &mut Mapped, params: &[u8]) -> Result<()> {
    let call = kernel.cpu.ok_or_else(|| Error::invalid("the kernel has no CPU twin"))?;
    let too_large = || unshared(io::ErrorKind::OutOfMemory.into());
    let (places, length) = places(words).ok_or_else(too_large)?;
    let mut rest = memory.bytes(length).map_err(unshared)?;
    let mut start = 0;
    let mut buffers = Vec::with_capacity(places.len());
    for (number, place) in places.into_iter().enumerate() {
        let (bytes, after) = std::mem::take(&mut rest)[place.start - start..].split_at_mut(place.len());
        let words: &mut [u32] = bytemuck::cast_slice_mut(bytes);
        let writes = kernel.bindings.get(number) == Some(&Access::Write);
        buffers.push(if writes { Buffer::Write(words) } else { Buffer::Read(words) });
        (rest, start) = (after, place.end);
    }
    call(&mut buffers, params)
}
