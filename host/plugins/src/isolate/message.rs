//! Messages between host and child. Bytes of tensors travel beside a message, as its frame's payload.

use espalier_sdk::{Access, DType, DeviceKind, Result, service::TensorId};
use serde::{Deserialize, Serialize};

/// From the host to the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToChild {
    /// Make the method of this name; its options are JSON.
    Method { name: String, options: String },
    /// Call the method.
    Call {
        /// A [`MethodCall`](espalier_sdk::message::MethodCall), as JSON.
        call: String,
        /// The device's name and kind, which never change.
        device: (String, DeviceKind),
    },
    /// The answer to a request; the payload is what was read.
    Reply(Result<TensorId>),
    /// Run the CPU twin of the kernel that was asked for. The payload is all buffers, one after the
    /// other, of so many words each.
    Twin { lengths: Vec<usize> },
}

/// From the child to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromChild {
    /// The request is done.
    Done(Result<ChildAnswer>),
    /// The plugin asks the device or the host, and waits for the reply.
    Ask(Request),
    /// The plugin gives a tensor back; there is no reply.
    Free(TensorId),
    /// The twin ran; the payload is the buffers that it writes, one after the other.
    TwinDone(Result<()>),
}

/// The result of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ChildAnswer {
    /// The library is open. `info` is JSON.
    Library { interface: (u16, u16), info: String },
    /// The method is made.
    Made,
    /// A [`MethodAnswer`](espalier_sdk::message::MethodAnswer), as JSON.
    Answer(String),
}

/// A call of [`DeviceService`](espalier_sdk::service::DeviceService), or of
/// [`HostService`](espalier_sdk::message::HostService).
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Create {
        dtype: DType,
        rows: usize,
        cols: usize,
    },
    /// The payload is the tensor's bytes.
    Upload {
        dtype: DType,
        rows: usize,
        cols: usize,
    },
    Read(TensorId),
    /// An operation, [packed](espalier_sdk::service::Packed).
    Execute {
        name: String,
        tensors: Vec<TensorId>,
        numbers: Vec<u64>,
        out: TensorId,
    },
    Run(KernelMessage),
    /// A [`HostCall`](espalier_sdk::message::HostCall), as JSON; so is the payload of the reply.
    Host(String),
}

/// A run of a plugin's own kernel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KernelMessage {
    pub(super) name: String,
    pub(super) wgsl: String,
    pub(super) access: Vec<Access>,
    /// Whether it has a CPU twin.
    pub(super) twin: bool,
    pub(super) bindings: Vec<TensorId>,
    pub(super) params: Vec<u8>,
    pub(super) workgroups: u32,
}
