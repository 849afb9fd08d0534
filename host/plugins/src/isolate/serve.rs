//! The child's requests to the device and the host.

use super::{
    channel::{Broken, Channel},
    message::{FromChild, KernelMessage, Request, ToChild},
    process::Called,
};
use espalier_sdk::{
    Buffer, Code, Error, Result,
    message::parse_call,
    service::{KernelCall, Op, TensorId},
};

/// Does what was asked, and sends the reply.
pub(super) fn serve(
    channel: &Channel,
    called: Called,
    request: Request,
    payload: &[u8],
) -> Result<(), Broken> {
    let mut bytes = Vec::new();
    let reply = answer(channel, called, request, payload, &mut bytes);
    channel.send(&ToChild::Reply(reply), &[&bytes])
}

/// The number of a new tensor, or 0; what is read comes in `bytes`.
fn answer(
    channel: &Channel,
    called: Called,
    request: Request,
    payload: &[u8],
    bytes: &mut Vec<u8>,
) -> Result<TensorId> {
    match request {
        Request::Create { dtype, rows, cols } => return called.device.create(dtype, rows, cols),
        Request::Upload { dtype, rows, cols } => return called.device.upload(dtype, rows, cols, payload),
        Request::Read(tensor) => *bytes = called.device.read(tensor)?,
        Request::Execute { name, tensors, numbers, out } => {
            called.device.execute(Op::unpack(&name, &tensors, &numbers)?, out)?;
        }
        Request::Run(run) => launch(channel, called, &run)?,
        Request::Host(call) => {
            let reply = called.host.call(parse_call(&call)?)?;
            *bytes = serde_json::to_vec(&reply).map_err(|error| Error::invalid(error.to_string()))?;
        }
    }
    Ok(0)
}

/// Runs a plugin's kernel, whose twin is the child's.
fn launch(channel: &Channel, called: Called, run: &KernelMessage) -> Result<()> {
    let twin = |buffers: &mut [Buffer<'_>], _: &[u8]| twin(channel, called, buffers);
    let kernel = KernelCall {
        name: &run.name,
        wgsl: &run.wgsl,
        bindings: &run.access,
        cpu: if run.twin { Some(&twin) } else { None },
    };
    called.device.run(&kernel, &run.bindings, &run.params, run.workgroups)
}

/// Has the child run the twin that it asked for. What the twin asks meanwhile is answered, by an error.
fn twin(channel: &Channel, called: Called, buffers: &mut [Buffer<'_>]) -> Result<()> {
    // A broken channel says why at the next message.
    let broken = |_| Error::new(Code::Other, "the CPU twin did not end");
    let words: Vec<&[u32]> = buffers
        .iter()
        .map(|buffer| match buffer {
            Buffer::Read(words) => *words,
            Buffer::Write(words) => &**words,
        })
        .collect();
    let message = ToChild::Twin { lengths: words.iter().map(|words| words.len()).collect() };
    let payload: Vec<&[u8]> = words.iter().map(|words| bytemuck::cast_slice(words)).collect();
    channel.send(&message, &payload).map_err(broken)?;
    let (done, written) = loop {
        match channel.receive().map_err(broken)? {
            (FromChild::TwinDone(done), written) => break (done, written),
            (FromChild::Ask(request), payload) => {
                serve(channel, called, request, &payload).map_err(broken)?;
            }
            (FromChild::Free(tensor), _) => called.device.free(tensor),
            (FromChild::Done(_), _) => return Err(Error::invalid("the method ended before its CPU twin")),
        }
    };
    done?;
    let mut rest = written.as_slice();
    for buffer in buffers {
        let Buffer::Write(words) = buffer else { continue };
        let own: &mut [u8] = bytemuck::cast_slice_mut(words);
        let Some((bytes, after)) = rest.split_at_checked(own.len()) else {
            return Err(Error::invalid("the CPU twin gave back too little"));
        };
        own.copy_from_slice(bytes);
        rest = after;
    }
    Ok(())
}
