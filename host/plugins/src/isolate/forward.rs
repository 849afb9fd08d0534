//! Device and host in the child: every call goes to the host and back.

use super::{
    channel::Channel,
    message::{FromChild, KernelMessage, Request, ToChild},
};
use espalier_sdk::{
    Access, Buffer, Code, DType, DeviceKind, Error, Result,
    message::{HostCall, HostReply, HostService},
    service::{DeviceService, KernelCall, Op, Packed, TensorId},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The host and its device, by requests.
pub(super) struct Forward {
    pub(super) channel: Arc<Mutex<Channel>>,
    pub(super) device: (String, DeviceKind),
}

/// The host's end is gone, so the error cannot be reported.
pub(super) fn gone<T>(_: T) -> ! {
    std::process::exit(1)
}

impl Forward {
    fn channel(&self) -> MutexGuard<'_, Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: Request, payload: &[u8]) -> Result<(TensorId, Vec<u8>)> {
        let channel = self.channel();
        channel.send(&FromChild::Ask(request), &[payload]).unwrap_or_else(|broken| gone(broken));
        match channel.receive().unwrap_or_else(|broken| gone(broken)) {
            (ToChild::Reply(reply), payload) => Ok((reply?, payload)),
            (other, _) => Err(unexpected(&other)),
        }
    }
}

fn unexpected(message: &ToChild) -> Error {
    Error::new(Code::Other, format!("the host answers with something else: {message:?}"))
}

impl HostService for Forward {
    fn call(&self, call: HostCall) -> Result<HostReply> {
        let json = |error: serde_json::Error| Error::invalid(error.to_string());
        let call = serde_json::to_string(&call).map_err(json)?;
        let (_, reply) = self.ask(Request::Host(call), &[])?;
        serde_json::from_slice(&reply).map_err(json)
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
        Ok(self.ask(Request::Create { dtype, rows, cols }, &[])?.0)
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<TensorId> {
        Ok(self.ask(Request::Upload { dtype, rows, cols }, bytes)?.0)
    }

    fn read(&self, tensor: TensorId) -> Result<Vec<u8>> {
        Ok(self.ask(Request::Read(tensor), &[])?.1)
    }

    fn free(&self, tensor: TensorId) {
        self.channel().send(&FromChild::Free(tensor), &[]).unwrap_or_else(|broken| gone(broken));
    }

    fn execute(&self, op: Op<TensorId>, out: TensorId) -> Result<()> {
        let Packed { name, tensors, numbers } = op.pack();
        self.ask(Request::Execute { name: name.to_owned(), tensors, numbers, out }, &[]).map(drop)
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
        let mut channel = self.channel();
        channel.send(&FromChild::Ask(Request::Run(run)), &[]).unwrap_or_else(|broken| gone(broken));
        loop {
            match channel.receive().unwrap_or_else(|broken| gone(broken)) {
                (ToChild::Reply(reply), _) => return reply.map(|_| ()),
                (ToChild::Twin { lengths }, payload) => {
                    // Let go of while the twin runs: should it ask the device, the host answers that it must not.
                    drop(channel);
                    let (done, written) = twin(kernel, &lengths, &payload, params);
                    channel = self.channel();
                    let written: Vec<&[u8]> =
                        written.iter().map(|words| bytemuck::cast_slice(words.as_slice())).collect();
                    let done = FromChild::TwinDone(done);
                    channel.send(&done, &written).unwrap_or_else(|broken| gone(broken));
                }
                (other, _) => return Err(unexpected(&other)),
            }
        }
    }
}

/// Runs a twin on copies of its buffers, and hands back those that it writes.
fn twin(
    kernel: &KernelCall,
    lengths: &[usize],
    payload: &[u8],
    params: &[u8],
) -> (Result<()>, Vec<Vec<u32>>) {
    let Some(call) = kernel.cpu else {
        return (Err(Error::invalid("the kernel has no CPU twin")), Vec::new());
    };
    let mut rest = payload;
    let mut owned: Vec<Vec<u32>> = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (bytes, after) = rest.split_at(rest.len().min(4 * length));
        owned.push(bytemuck::pod_collect_to_vec(bytes));
        rest = after;
    }
    let writes = |at: usize| kernel.bindings.get(at) == Some(&Access::Write);
    let mut buffers: Vec<Buffer> = owned
        .iter_mut()
        .enumerate()
        .map(|(at, words)| if writes(at) { Buffer::Write(words) } else { Buffer::Read(words) })
        .collect();
    let done = call(&mut buffers, params);
    let written = owned.into_iter().enumerate().filter(|(at, _)| writes(*at)).map(|(_, words)| words);
    (done, written.collect())
}
