//! What the two sides say to each other. Bytes of tensors travel beside a message, as its frame's payload.

use espalier_sdk::{
    Access, Axis, Binary, DType, DeviceKind, Order, Reduction, Result, Selection, Sparsity, Statistic, Unary,
    Within,
    abi::{LoadedPruned, TensorHandle},
    service::{Block, ScoreIds, TensorId},
};
use serde::{Deserialize, Serialize};

/// From the host to the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToChild {
    /// Make the method of this name; its options are JSON.
    Method { name: String, options: String },
    /// Prune a layer.
    Prune(Prune),
    /// The answer to a request; the payload is what was read.
    Reply(Result<TensorId>),
    /// Run the CPU twin of the kernel that was asked for. The payload is all buffers, one after the
    /// other, of so many words each.
    Twin { lengths: Vec<usize> },
}

/// One layer, as [`LoadedMethod::prune`](espalier_sdk::abi::LoadedMethod::prune) takes it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Prune {
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
    /// What was asked for is done.
    Done(Result<Outcome>),
    /// The plugin asks the device, and waits for the reply.
    Ask(Request),
    /// The plugin gives a tensor back; there is no reply.
    Free(TensorId),
    /// The twin ran; the payload is the buffers that it writes, one after the other.
    TwinDone(Result<()>),
}

/// What came of what was asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
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
    Map {
        f: Unary,
        x: TensorId,
        scale: f32,
        shift: f32,
        out: TensorId,
    },
    Zip {
        f: Unary,
        a: TensorId,
        op: Binary,
        alpha: f32,
        b: TensorId,
        out: TensorId,
    },
    Reduce {
        f: Reduction,
        axis: Axis,
        x: TensorId,
        accumulate: bool,
        out: TensorId,
    },
    Select {
        scores: ScoreIds,
        selection: Selection,
        mask: TensorId,
    },
    ZeroWhere {
        mask: TensorId,
        x: TensorId,
    },
    Matmul {
        alpha: f32,
        a: Block,
        b: Block,
        beta: f32,
        c: Block,
    },
    Copy {
        from: Block,
        to: Block,
    },
    Transpose {
        x: TensorId,
        out: TensorId,
    },
    Reverse(TensorId),
    Diagonal {
        x: TensorId,
        out: TensorId,
    },
    AddDiagonal {
        d: TensorId,
        x: TensorId,
    },
    Cholesky(TensorId),
    TriangularInverse(TensorId),
    TriangularSolve {
        l: TensorId,
        transposed: bool,
        b: TensorId,
    },
    KthSmallest {
        scores: ScoreIds,
        within: Within,
        k: usize,
        out: TensorId,
    },
    AtMost {
        scores: ScoreIds,
        thresholds: TensorId,
        mask: TensorId,
    },
    Run(Run),
}

/// A run of a plugin's own kernel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) wgsl: String,
    pub(super) access: Vec<Access>,
    /// Whether it has a CPU twin.
    pub(super) twin: bool,
    pub(super) bindings: Vec<TensorId>,
    pub(super) params: Vec<u8>,
    pub(super) workgroups: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_survive() {
        let request = Request::Map { f: Unary::Abs, x: 1, scale: f32::NAN, shift: f32::INFINITY, out: 2 };
        let bytes = postcard::to_stdvec(&FromChild::Ask(request)).unwrap();
        let back: FromChild = postcard::from_bytes(&bytes).unwrap();
        assert!(
            matches!(back, FromChild::Ask(Request::Map { scale, shift, .. }) if scale.is_nan() && shift == f32::INFINITY)
        );
    }
}
