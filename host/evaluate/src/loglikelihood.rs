//! The log-likelihoods of continuations behind their contexts. A context that several have in common is computed once.

use super::requests::Request;
use espalier_base::interrupt;
use espalier_device::{DType, Op};
use espalier_model::{HiddenStates, Llama, ModelError, Placement, PrefixPlan, Result, SequenceRows};

/// The most logits at a time.
const MAX_LOGITS: usize = 1 << 24;

/// The most bytes of hidden states at a time: of more sequences, the model's weights are read again.
const MAX_STATES: usize = 1 << 30;

/// What a model makes of a continuation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Continuation {
    /// The sum of the log-probabilities of its tokens, in nats.
    pub(super) loglikelihood: f64,
    /// Whether every token of it is the most likely one.
    pub(super) greedy: bool,
}

/// The continuations of these requests, which `plan` is made for. Whether they are greedy is found out if it is asked for.
/// `progress` is called with tokens that went through a block.
pub(super) fn continuations(
    model: &Llama,
    requests: &[&Request],
    plan: &PrefixPlan,
    greedy: bool,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Continuation>> {
    let inputs: Vec<&[u32]> = requests.iter().map(|request| request.inputs()).collect();
    let most = MAX_STATES / (model.config.hidden_size * size_of::<f32>());
    let mut found = vec![Continuation { loglikelihood: 0.0, greedy: true }; requests.len()];
    let mut next = 0;
    while next < plan.batches() {
        let (mut batches, mut rows, mut tokens) = (Vec::new(), Vec::new(), 0);
        while next < plan.batches() && (batches.is_empty() || tokens + plan.tokens_of(next, &inputs) <= most)
        {
            tokens += plan.tokens_of(next, &inputs);
            let (batch, of_batch) = model.prefix_batch(&inputs, plan, next)?;
            batches.push(batch);
            rows.push(of_batch);
            next += 1;
        }
        let mut hidden = HiddenStates::embed_batches(model, batches, &Placement::Device)?;
        model.each_block(0..model.config.num_hidden_layers, model.has_room_ahead(tokens), |_, block| {
            hidden.advance(model, block, &mut *progress)
        })?;
        read(model, &hidden, &rows, requests, greedy, &mut found)?;
    }
    Ok(found)
}

/// A run of rows of hidden states that predict, and whose: the request, and the first token of it that they predict.
struct Predicting {
    rows: (usize, usize),
    request: usize,
    target: usize,
}

/// Adds what the last hidden states say of the requests of their batches.
fn read(
    model: &Llama,
    hidden: &HiddenStates,
    rows: &[Vec<SequenceRows>],
    requests: &[&Request],
    greedy: bool,
    found: &mut [Continuation],
) -> Result<()> {
    let (device, vocab_size) = (&*model.device, model.config.vocab_size);
    let head = model.load_head()?;
    let most = (MAX_LOGITS / vocab_size).max(1);
    let mut rows = rows.iter();
    hidden.visit(model, |_, states| {
        let Some(of_batch) = rows.next() else { return Ok(()) };
        for piece in pieces(of_batch, requests, most) {
            interrupt::check()?;
            let count = piece.iter().map(|run| run.rows.1).sum();
            let mut last = device.zeros(DType::F32, count, states.cols())?;
            let mut targets = Vec::with_capacity(count);
            for run in &piece {
                model.copy_rows(states, run.rows, &mut last, targets.len())?;
                targets.extend_from_slice(&requests[run.request].targets()[run.target..][..run.rows.1]);
            }
            let logits = model.logits(&head, &last)?;
            let mut losses = device.zeros(DType::F32, count, 1)?;
            let on_device = device.from_u32(&targets)?;
            device.execute(Op::CrossEntropy { logits: &logits, targets: &on_device }, &mut losses)?;
            let losses = device.to_f32(&losses)?;
            let logits = if greedy { device.to_f32(&logits)? } else { Vec::new() };
            let mut row = 0;
            for run in &piece {
                let of_request = &mut found[run.request];
                for _ in 0..run.rows.1 {
                    if !losses[row].is_finite() {
                        return Err(ModelError::NoLikelihood { sequence: run.request });
                    }
                    of_request.loglikelihood -= f64::from(losses[row]);
                    if greedy {
                        let logits = &logits[row * vocab_size..][..vocab_size];
                        of_request.greedy &= is_highest(logits, targets[row] as usize);
                    }
                    row += 1;
                }
            }
        }
        Ok(())
    })
}

/// The runs of rows that predict, in pieces of at most so many rows.
fn pieces(of_batch: &[SequenceRows], requests: &[&Request], most: usize) -> Vec<Vec<Predicting>> {
    let mut pieces = vec![Vec::new()];
    let mut left = most;
    for sequence in of_batch {
        let mut target = 0;
        for (mut first, mut count) in sequence.last(requests[sequence.number].predicted) {
            while count > 0 {
                if left == 0 {
                    pieces.push(Vec::new());
                    left = most;
                }
                let taken = count.min(left);
                let run = Predicting { rows: (first, taken), request: sequence.number, target };
                if let Some(piece) = pieces.last_mut() {
                    piece.push(run);
                }
                (first, count, target, left) = (first + taken, count - taken, target + taken, left - taken);
            }
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Whether no logit is higher, and none before it is as high.
fn is_highest(logits: &[f32], target: usize) -> bool {
    let own = logits[target];
    logits[..target].iter().all(|&logit| logit < own) && logits[target..].iter().all(|&logit| logit <= own)
}
