//! Messages between host and child. Bytes of tensors travel beside a message, as its frame's payload.

use espalier_sdk::{
    Access, DType, DeviceKind, Order, Result, Sparsity, Statistic,
    abi::{LoadedPruned, TensorHandle},
    service::TensorId,
};
use serde::{Deserialize, Serialize};

/// From the host to the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToChild {
    /// Make the method of this name; its options are JSON.
    Method { name: String, options: String },
    /// Prune a layer.
    Prune(PruneMessage),
    /// The answer to a request; the payload is what was read.
    Reply(Result<TensorId>),
    /// Run the CPU twin of the kernel that was asked for. The payload is all buffers, one after the
    /// other, of so many words each.
    Twin { lengths: Vec<usize> },
}

/// One layer, as [`LoadedMethod::prune`](espalier_sdk::abi::LoadedMethod::prune) takes it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PruneMessage {
    pub(super) name: String,
    pub(super) block: usize,
    pub(super) weight: TensorHandle,
    pub(super) tokens: u64,
    pub(super) statistics: Vec<(Statistic, TensorHandle)>,
    pub(super) target: Sparsity,
    /// The device's name and kind, which never change.
    pub(super) device: (String, DeviceKind),
}

/// From the child to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromChild {
    /// The request is done.
    Done(Result<PruneAnswer>),
    /// The plugin asks the device, and waits for the reply.
    Ask(Request),
    /// The plugin gives a tensor back; there is no reply.
    Free(TensorId),
    /// The twin ran; the payload is the buffers that it writes, one after the other.
    TwinDone(Result<()>),
}

/// The result of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum PruneAnswer {
    /// The library is open. `info` is JSON.
    Library { interface: (u16, u16), info: String },
    /// The method is made.
    Method(Order),
    /// The layer is pruned.
    Pruned(LoadedPruned),
}

/// A call of [`DeviceService`](espalier_sdk::service::DeviceService).
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
