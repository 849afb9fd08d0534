//! The host's services for plugins: plain traits, which the ABI adapters carry over the FFI boundary.

use crate::{
    Access, AnswerRule, Buffer, DType, DeviceKind, Document, ModelInfo, Result, SamplingOptions, Source,
    message::unsupported,
};
use std::{collections::BTreeMap, fmt, ops::Range};

pub use espalier_ops::{Op, Packed, UnpackError};

/// A tensor on a device, as the border names it. Never reused within a run.
pub type TensorId = u64;

/// A plugin's [`Kernel`](crate::Kernel), borrowed for one run of it.
#[derive(Clone, Copy)]
pub struct KernelCall<'a> {
    /// A name for messages.
    pub name: &'a str,
    /// The WGSL source.
    pub wgsl: &'a str,
    /// How it uses its bindings, in order.
    pub bindings: &'a [Access],
    /// The same computation for a CPU device.
    #[expect(clippy::type_complexity, reason = "a name for it would be used here alone")]
    pub cpu: Option<&'a dyn Fn(&mut [Buffer<'_>], &[u8]) -> Result<()>>,
}

impl fmt::Debug for KernelCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("KernelCall").finish_non_exhaustive()
    }
}

/// A device. Operations write to tensors that the caller made with [`create`](DeviceService::create) and gives back with
/// [`free`](DeviceService::free). The implementation checks their operands.
pub trait DeviceService: Send + Sync + 'static {
    /// The device's name, for messages.
    fn name(&self) -> String;

    /// Whether operations run on a GPU or on the CPU.
    fn kind(&self) -> DeviceKind;

    /// A tensor of zeros.
    ///
    /// # Errors
    /// The device has no memory left.
    fn create(&self, dtype: DType, rows: usize, cols: usize) -> Result<TensorId>;

    /// A tensor with these bytes, little-endian.
    ///
    /// # Errors
    /// As [`create`](DeviceService::create).
    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<TensorId>;

    /// A tensor's bytes, little-endian.
    ///
    /// # Errors
    /// The device failed.
    fn read(&self, tensor: TensorId) -> Result<Vec<u8>>;

    /// Gives a tensor back. An unknown one is ignored.
    fn free(&self, tensor: TensorId);

    /// Computes an operation.
    ///
    /// # Errors
    /// [`Code::Unsupported`](crate::Code::Unsupported) where the host does not know the operation,
    /// [`Code::Numeric`](crate::Code::Numeric) where a matrix is not positive definite, operands that do not fit, or a
    /// failing device.
    fn execute(&self, op: Op<TensorId>, out: TensorId) -> Result<()>;

    /// Runs a plugin's own kernel over `workgroups` workgroups. Bindings that it writes are of its access
    /// [`Write`](crate::Access::Write); one tensor is bound once.
    ///
    /// # Errors
    /// [`Code::Unsupported`](crate::Code::Unsupported) on a CPU device where the kernel has no CPU twin, and
    /// where a tensor is larger than the device can bind.
    fn run(&self, kernel: &KernelCall, bindings: &[TensorId], params: &[u8], workgroups: u32) -> Result<()>;
}

/// A collection of documents.
pub trait DocumentService: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether the collection is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The files they came from, in order.
    ///
    /// # Errors
    /// The other side of the border fails.
    fn sources(&self) -> Result<Vec<Source>>;

    /// A document's text and source.
    ///
    /// # Errors
    /// The document cannot be read.
    fn document(&self, index: usize) -> Result<Document>;

    /// A document's tokens, with the special tokens that the model's tokenizer adds.
    ///
    /// # Errors
    /// The document cannot be read or tokenised.
    fn tokens(&self, index: usize) -> Result<Vec<u32>>;

    /// The fields of a document's row, by name.
    ///
    /// # Errors
    /// The document cannot be read.
    fn fields(&self, index: usize) -> Result<BTreeMap<String, String>> {
        let _ = index;
        Err(unsupported("fields"))
    }

    /// Which of its tokens are the answer to its prompt.
    ///
    /// # Errors
    /// The document cannot be read, rendered or tokenised.
    fn answer(&self, index: usize) -> Result<Option<Range<usize>>> {
        let _ = index;
        Err(unsupported("answer"))
    }

    /// The tokens that the model goes on from to answer a document.
    ///
    /// # Errors
    /// The document cannot be read, rendered or tokenised.
    fn prompt(&self, index: usize) -> Result<Option<Vec<u32>>> {
        let _ = index;
        Err(unsupported("prompt"))
    }

    /// The text of tokens, without special ones.
    ///
    /// # Errors
    /// The tokenizer fails.
    fn decode(&self, tokens: &[u32]) -> Result<String> {
        let _ = tokens;
        Err(unsupported("decode"))
    }

    /// Which of these answers agree with the document's own; nothing where it has none to compare with.
    ///
    /// # Errors
    /// The document cannot be read, the tokenizer fails, or the rule has an invalid regular expression.
    fn agree(&self, index: usize, answers: &[&[u32]], rule: &AnswerRule) -> Result<Option<Vec<bool>>> {
        let _ = (index, answers, rule);
        Err(unsupported("agree"))
    }
}

/// The model as selectors use it; see [`Model`](crate::Model) for the exact meaning.
pub trait ModelService: Send + Sync {
    /// Facts of the model.
    ///
    /// # Errors
    /// There is no model.
    fn info(&self) -> Result<ModelInfo>;

    /// The log-likelihood of every token but each sequence's first.
    ///
    /// # Errors
    /// No model, an unusable sequence, or a failing device; so for every function below.
    fn log_likelihoods(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>>;

    /// The mean hidden state of each sequence behind each of these layers.
    fn pooled(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<Vec<f32>>>;

    /// The model's continuation of each prefix.
    fn sample(&self, prefixes: &[&[u32]], options: &SamplingOptions) -> Result<Vec<Vec<u32>>>;
}

/// The windows that a selector's offers are cut into; see [`Windows`](crate::Windows) for the exact meaning.
pub trait WindowService: Send + Sync {
    /// Whether more windows are wanted.
    fn wanted(&self) -> bool;

    /// Takes a document, for at most `limit` windows. The answer is how many came of it.
    ///
    /// # Errors
    /// There is no such document, or it cannot be read.
    fn offer(&mut self, document: usize, score: Option<f64>, limit: usize) -> Result<usize>;

    /// Takes a document from a token on, for at most `limit` windows. The answer is how many came of it.
    ///
    /// # Errors
    /// As [`offer`](WindowService::offer), or too few tokens follow.
    fn offer_at(
        &mut self,
        document: usize,
        offset: usize,
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        let _ = (document, offset, score, limit);
        Err(unsupported("offer_at"))
    }

    /// Takes a selector's own text, for at most `limit` windows.
    ///
    /// # Errors
    /// No tokens, or one that the model does not know.
    fn offer_tokens(&mut self, tokens: &[u32], score: Option<f64>, limit: usize) -> Result<usize>;

    /// Takes an answer that a selector sampled to a document's prompt, for at most `limit` windows.
    ///
    /// # Errors
    /// As [`offer_tokens`](WindowService::offer_tokens), or there is no such document.
    fn offer_answer(
        &mut self,
        document: usize,
        prompt: &[u32],
        answer: &[u32],
        score: Option<f64>,
        limit: usize,
    ) -> Result<usize> {
        let _ = (document, prompt, answer, score, limit);
        Err(unsupported("offer_answer"))
    }

    /// Drops what was packed and has not filled a window.
    fn separate(&mut self);
}
