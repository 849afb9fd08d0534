//! The child's requests to the device and the host.

use super::{
    channel::Broken,
    memory::{Memory, places},
    message::{FromChild, KernelMessage, Reply, Request, ToChild},
    process::{Called, Link},
};
use espalier_sdk::{
    Buffer, Code, DType, Error, Result,
    message::parse_call,
    service::{KernelCall, Op},
};
use std::{fmt::Display, io};

/// Does what was asked, and sends the reply.
pub(super) fn serve(link: &Link, called: Called, request: Request) -> Result<(), Broken> {
    link.channel.send(&ToChild::Reply(answer(link, called, request)))
}

/// Replies to what a twin asks, whose buffers are in the shared memory meanwhile. The device does nothing for it.
fn serve_twin(link: &Link, called: Called, request: Request) -> Result<(), Broken> {
    let reply = match request {
        Request::Upload { dtype, rows, cols, .. } => {
            called.device.upload(dtype, rows, cols, &[]).map(Reply::Tensor)
        }
        Request::Read(tensor) => called.device.read(tensor).map(|_| Reply::Done),
        other => answer(link, called, other),
    };
    link.channel.send(&ToChild::Reply(reply))
}

fn answer(link: &Link, called: Called, request: Request) -> Result<Reply> {
    Ok(match request {
        Request::Create { dtype, rows, cols } => Reply::Tensor(called.device.create(dtype, rows, cols)?),
        Request::Upload { dtype, rows, cols, bytes } => {
            let bytes = uploaded(&link.memory, dtype, rows, cols, bytes)?;
            Reply::Tensor(called.device.upload(dtype, rows, cols, &bytes)?)
        }
        Request::Read(tensor) => {
            let bytes = called.device.read(tensor)?;
            link.memory.write(0, &bytes).map_err(unshared)?;
            Reply::Bytes(bytes.len())
        }
        Request::Execute { name, tensors, numbers, out } => {
            called.device.execute(Op::unpack(&name, &tensors, &numbers)?, out)?;
            Reply::Done
        }
        Request::Run(run) => {
            launch(link, called, &run)?;
            Reply::Done
        }
        Request::Host(call) => {
            let reply = called.host.call(parse_call(&call)?)?;
            Reply::Host(serde_json::to_string(&reply).map_err(|error| Error::invalid(error.to_string()))?)
        }
        Request::Selection(call) => {
            let offered = called.offered.ok_or_else(|| Error::invalid("a method is no selector"))?;
            offered.answer(call)?
        }
    })
}

/// A copy of the bytes that the child has for a tensor. It takes no memory for more than the tensor has.
fn uploaded(memory: &Memory, dtype: DType, rows: usize, cols: usize, bytes: usize) -> Result<Vec<u8>> {
    let expected = rows.checked_mul(cols).and_then(|elements| elements.checked_mul(dtype.size()));
    if expected != Some(bytes) {
        return Err(Error::invalid(format!(
            "{bytes} bytes are not those of a {dtype} tensor [{rows}, {cols}]"
        )));
    }
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes).map_err(unshared)?;
    copy.resize(bytes, 0);
    memory.read(0, &mut copy).map_err(unshared)?;
    Ok(copy)
}

fn unshared(error: impl Display) -> Error {
    Error::new(Code::Other, format!("the memory that is shared with the plugin process failed: {error}"))
}

/// Runs a plugin's kernel, whose twin is the child's.
fn launch(link: &Link, called: Called, run: &KernelMessage) -> Result<()> {
    let twin = |buffers: &mut [Buffer<'_>], _: &[u8]| twin(link, called, buffers);
    let kernel = KernelCall {
        name: &run.name,
        wgsl: &run.wgsl,
        bindings: &run.access,
        cpu: if run.twin { Some(&twin) } else { None },
    };
    called.device.run(&kernel, &run.bindings, &run.params, run.workgroups)
}

/// Has the child run the twin that it asked for. What the twin asks meanwhile is answered, by an error.
fn twin(link: &Link, called: Called, buffers: &mut [Buffer<'_>]) -> Result<()> {
    // A broken channel says why at the next message.
    let broken = |_| Error::new(Code::Other, "the CPU twin did not end");
    let words: Vec<usize> = buffers.iter().map(|buffer| buffer.u32().len()).collect();
    let too_large = || unshared(io::ErrorKind::OutOfMemory);
    let (places, _) = places(&words).ok_or_else(too_large)?;
    for (place, buffer) in places.iter().zip(&*buffers) {
        link.memory.write(place.start, bytemuck::cast_slice(buffer.u32())).map_err(unshared)?;
    }
    link.channel.send(&ToChild::Twin { words }).map_err(broken)?;
    let done = loop {
        match link.channel.receive().map_err(broken)? {
            FromChild::TwinDone(done) => break done,
            FromChild::Ask(request) => serve_twin(link, called, request).map_err(broken)?,
            FromChild::Free(tensor) => called.device.free(tensor),
            FromChild::Done(_) => return Err(Error::invalid("the method ended before its CPU twin")),
        }
    };
    done?;
    for (place, buffer) in places.iter().zip(buffers) {
        let Buffer::Write(words) = buffer else { continue };
        link.memory.read(place.start, bytemuck::cast_slice_mut(words)).map_err(unshared)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_as_long_as_its_tensor_and_the_shared_memory() {
        let (memory, _child) = Memory::new().unwrap();
        let refused = |rows, cols, bytes| uploaded(&memory, DType::F32, rows, cols, bytes).unwrap_err();
        for (rows, cols, bytes) in [(1, 2, 4), (1, 1, 8), (usize::MAX, 2, 8), (usize::MAX / 2, 3, 0)] {
            assert!(refused(rows, cols, bytes).to_string().contains("are not those of"));
        }
        memory.write(0, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(uploaded(&memory, DType::F32, 1, 2, 8).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
        // Neither more than there is, nor more than there can be.
        assert!(refused(1, 3, 12).to_string().contains("shared with the plugin process"));
        assert!(refused(1 << 40, 1 << 20, 1 << 62).to_string().contains("shared with the plugin process"));
    }
}
