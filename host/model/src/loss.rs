//! The loss of a model, and its gradient by the hidden states that leave the last block.

use super::{Batch, Head, HiddenStates, Llama, Result, low_rank::in_f32};
use espalier_device::{DType, Op, Tensor};
use std::ops::Range;

/// Tokens whose logits are in memory at a time.
const LOGIT_TOKENS: usize = 512;

impl Llama {
    /// The mean cross-entropy per token, over all tokens but each sequence's first, of the hidden states that leave the last
    /// block.
    ///
    /// # Errors
    /// A failing device.
    pub fn mean_loss(&self, hidden: &HiddenStates) -> Result<f64> {
        let head = self.load_head()?;
        let (mut sum, mut count) = (0.0, 0);
        hidden.visit(self, |batch, states| {
            for part in parts(states) {
                let predicted = Predicted::of(self, &head, batch, states, part)?;
                let mut losses = self.device.zeros(DType::F32, predicted.logits.rows(), 1)?;
                let Predicted { logits, targets, .. } = &predicted;
                self.device.execute(Op::CrossEntropy { logits, targets }, &mut losses)?;
                let losses = self.device.to_f32(&losses)?;
                let counted = losses.into_iter().zip(&predicted.counts).filter(|(_, counts)| **counts);
                sum += counted.map(|(loss, _)| f64::from(loss)).sum::<f64>();
                count += predicted.counts.iter().filter(|counts| **counts).count();
            }
            Ok::<_, super::ModelError>(())
        })?;
        Ok(sum / count.max(1) as f64)
    }

    /// The gradient of a batch's mean cross-entropy per token by the hidden states that leave the last block,
    /// `[tokens, hidden_size]`.
    ///
    /// # Errors
    /// A failing device.
    pub fn loss_gradient(&self, head: &Head, batch: &Batch, states: &Tensor) -> Result<Tensor> {
        let device = &*self.device;
        let width = states.cols();
        let count = states.rows() - batch.spans.len();
        let mut gradient = device.zeros(DType::F32, states.rows(), width)?;
        let converted;
        let lm_head = if head.lm_head.dtype() == DType::F32 {
            &head.lm_head
        } else {
            converted = in_f32(device, &head.lm_head)?;
            &converted
        };
        for part in parts(states) {
            let first = part.start;
            let Predicted { hidden, logits, targets, counts } =
                Predicted::of(self, head, batch, states, part)?;
            let rows = hidden.rows();
            let factor = |counts: bool| if counts { 1.0 / count as f32 } else { 0.0 };
            let factors = device.from_f32(rows, 1, counts.into_iter().map(factor).collect())?;
            let mut by_logits = device.zeros(DType::F32, rows, logits.cols())?;
            device.execute(
                Op::CrossEntropyGradient { logits: &logits, targets: &targets, factors: &factors },
                &mut by_logits,
            )?;
            drop(logits);
            let mut by_normed = device.zeros(DType::F32, rows, width)?;
            let product =
                Op::Matmul { a: by_logits.all(), b: lm_head.all(), alpha: 1.0, beta: 0.0, to: (0, 0) };
            device.execute(product, &mut by_normed)?;
            let nothing = device.zeros(DType::F32, rows, width)?;
            let by_hidden = self.norm_gradient(&hidden, &head.norm, &by_normed, &nothing)?;
            device.execute(Op::Copy { from: by_hidden.all(), to: (first, 0) }, &mut gradient)?;
        }
        Ok(gradient)
    }
}

/// Some tokens of a batch.
struct Predicted {
    /// What leaves the last block.
    hidden: Tensor,
    logits: Tensor,
    /// The tokens that follow.
    targets: Tensor,
    /// Whether a token predicts one: the last of a sequence does not.
    counts: Vec<bool>,
}

impl Predicted {
    fn of(model: &Llama, head: &Head, batch: &Batch, states: &Tensor, rows: Range<usize>) -> Result<Self> {
        let device = &*model.device;
        let mut hidden = device.zeros(DType::F32, rows.len(), states.cols())?;
        device.execute(Op::CopyRows { x: states, start: rows.start }, &mut hidden)?;
        let logits = model.logits(head, &hidden)?;
        let predicts = |row: usize| batch.spans.iter().all(|span| span.query_start + span.queries != row + 1);
        let target = |row: usize| batch.tokens.get(row + 1).copied().unwrap_or(0);
        let targets: Vec<u32> = rows.clone().map(target).collect();
        let targets = device.from_u32(&targets)?;
        Ok(Self { hidden, logits, targets, counts: rows.map(predicts).collect() })
    }
}

fn parts(states: &Tensor) -> impl Iterator<Item = Range<usize>> {
    let rows = states.rows();
    (0..rows).step_by(LOGIT_TOKENS).map(move |start| start..(start + LOGIT_TOKENS).min(rows))
}
