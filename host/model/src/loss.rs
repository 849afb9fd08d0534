//! The loss of a model, and its gradient by the hidden states that leave the last block.

use super::{Batch, Head, HiddenStates, Llama, Result, low_rank::in_f32};
use espalier_device::{DType, Op, Tensor};
use std::ops::Range;

/// Tokens whose logits are in memory at a time.
const LOGIT_TOKENS: usize = 512;

impl Llama {
    /// The mean cross-entropy per token, over all tokens but each sequence's first, of the hidden states that leave the last
    /// block. Each token weighs as its batch says.
    ///
    /// # Errors
    /// A failing device.
    pub fn mean_loss(&self, hidden: &HiddenStates) -> Result<f64> {
        let head = self.load_head()?;
        let (mut sum, mut total) = (0.0, 0.0);
        hidden.visit(self, |batch, states| {
            for part in parts(states) {
                let predicted = Predicted::of(self, &head, batch, states, part)?;
                let mut losses = self.device.zeros(DType::F32, predicted.logits.rows(), 1)?;
                let Predicted { logits, targets, .. } = &predicted;
                self.device.execute(Op::CrossEntropy { logits, targets }, &mut losses)?;
                let losses = self.device.to_f32(&losses)?;
                for (loss, &weight) in losses.into_iter().zip(&predicted.weights) {
                    // What is not predicted may have any loss, NaN too.
                    if weight > 0.0 {
                        sum += f64::from(loss) * f64::from(weight);
                        total += f64::from(weight);
                    }
                }
            }
            Ok::<_, super::ModelError>(())
        })?;
        Ok(if total > 0.0 { sum / total } else { 0.0 })
    }

    /// The gradient of a batch's [mean cross-entropy per token](Llama::mean_loss) by the hidden states that leave the last
    /// block, `[tokens, hidden_size]`.
    ///
    /// # Errors
    /// A failing device.
    pub fn loss_gradient(&self, head: &Head, batch: &Batch, states: &Tensor) -> Result<Tensor> {
        let device = &*self.device;
        let width = states.cols();
        let total: f64 = (0..states.rows()).map(|row| f64::from(weight(batch, row))).sum();
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
            let Predicted { hidden, logits, targets, weights } =
                Predicted::of(self, head, batch, states, part)?;
            let rows = hidden.rows();
            let factor = |weight: f32| if weight > 0.0 { (f64::from(weight) / total) as f32 } else { 0.0 };
            let factors = device.from_f32(rows, 1, weights.into_iter().map(factor).collect())?;
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
            let by_hidden = self.norm_gradient(&hidden, &head.norm, by_normed, &nothing)?;
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
    /// How much each of them counts.
    weights: Vec<f32>,
}

impl Predicted {
    fn of(model: &Llama, head: &Head, batch: &Batch, states: &Tensor, rows: Range<usize>) -> Result<Self> {
        let device = &*model.device;
        let mut hidden = device.zeros(DType::F32, rows.len(), states.cols())?;
        device.execute(Op::CopyRows { x: states, start: rows.start }, &mut hidden)?;
        let logits = model.logits(head, &hidden)?;
        let target = |row: usize| batch.tokens.get(row + 1).copied().unwrap_or(0);
        let targets: Vec<u32> = rows.clone().map(target).collect();
        let targets = device.from_u32(&targets)?;
        Ok(Self { hidden, logits, targets, weights: rows.map(|row| weight(batch, row)).collect() })
    }
}

/// How much the token behind a row counts; 0 behind the last of a sequence, which predicts none.
fn weight(batch: &Batch, row: usize) -> f32 {
    let is_last = batch.spans.iter().any(|span| span.query_start + span.queries == row + 1);
    if is_last { 0.0 } else { batch.weight(row + 1) }
}

fn parts(states: &Tensor) -> impl Iterator<Item = Range<usize>> {
    let rows = states.rows();
    (0..rows).step_by(LOGIT_TOKENS).map(move |start| start..(start + LOGIT_TOKENS).min(rows))
}
