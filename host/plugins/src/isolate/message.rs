//! Messages between host and child. Bytes of tensors are in the memory that they share (see `memory`), from its beginning.

use espalier_sdk::{
    Access, AnswerRule, DType, DeviceKind, Result, SamplingOptions, SelectionRequest, service::TensorId,
};
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
    /// Make the selector of this name; its options are JSON.
    Selector { name: String, options: String },
    /// Have the selector choose.
    Select(SelectionRequest),
    /// The answer to a request.
    Reply(Result<Reply>),
    /// Run the CPU twin of the kernel that was asked for, on buffers of so many words each in the shared memory.
    Twin { words: Vec<usize> },
}

/// What came of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Done,
    /// A new tensor.
    Tensor(TensorId),
    /// So many bytes of a tensor, in the shared memory.
    Bytes(usize),
    /// A [`HostReply`](espalier_sdk::message::HostReply), as JSON.
    Host(String),
    /// What a [`SelectionCall`] gives, in postcard.
    Packed(Vec<u8>),
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
    /// The twin ran, and its buffers are as it left them.
    TwinDone(Result<()>),
}

/// The result of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ChildAnswer {
    /// The library is open. `info` is JSON.
    Library { interface: (u16, u16), info: String },
    /// The method or selector is made.
    Made,
    /// The selector has chosen.
    Selected,
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
    /// A tensor of so many bytes, in the shared memory.
    Upload {
        dtype: DType,
        rows: usize,
        cols: usize,
        bytes: usize,
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
    /// A [`HostCall`](espalier_sdk::message::HostCall), as JSON.
    Host(String),
    /// Of a selector.
    Selection(SelectionCall),
}

/// A call of [`DocumentService`](espalier_sdk::service::DocumentService),
/// [`ModelService`](espalier_sdk::service::ModelService) or [`WindowService`](espalier_sdk::service::WindowService).
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SelectionCall {
    Length,
    Sources,
    Document(usize),
    Tokens(usize),
    Fields(usize),
    Answer(usize),
    Prompt(usize),
    Decode(Vec<u32>),
    Agree { document: usize, answers: Vec<Vec<u32>>, rule: AnswerRule },
    Model,
    LogLikelihoods(Vec<Vec<u32>>),
    Pooled(Vec<Vec<u32>>, Vec<usize>),
    Sample(Vec<Vec<u32>>, SamplingOptions),
    Wanted,
    Offer { document: usize, score: Option<f64>, limit: usize },
    OfferAt { document: usize, offset: usize, score: Option<f64>, limit: usize },
    OfferTokens { tokens: Vec<u32>, score: Option<f64>, limit: usize },
    OfferAnswer { document: usize, prompt: Vec<u32>, answer: Vec<u32>, score: Option<f64>, limit: usize },
    Separate,
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
