use super::*;
use crate::{HiddenStates, Placement};
use espalier_device::cpu::Cpu;
use std::path::Path;

fn model() -> Llama {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-instruct");
    Llama::open(&folder, Arc::new(Cpu::new())).unwrap()
}

/// The last block's hidden states of these batches.
fn through(model: &Llama, batches: Vec<Batch>) -> Vec<Vec<f32>> {
    let mut hidden = HiddenStates::embed_batches(model, batches, &Placement::Device).unwrap();
    model.each_block(0..4, false, |_, block| hidden.advance(model, block, |_| {})).unwrap();
    let mut found = Vec::new();
    let keep = |_: &Batch, states: &Tensor| -> Result<()> {
        found.push(model.device.to_f32(states)?);
        Ok(())
    };
    hidden.visit(model, keep).unwrap();
    found
}

/// The hidden states of every sequence, each computed once with its beginning shared.
fn shared(model: &Llama, sequences: &[&[u32]], max_tokens: usize) -> (Vec<Vec<f32>>, PrefixPlan) {
    let plan = PrefixPlan::new(sequences, &model.config, max_tokens);
    let (batches, rows): (Vec<_>, Vec<_>) =
        (0..plan.batches()).map(|batch| model.prefix_batch(sequences, &plan, batch).unwrap()).unzip();
    let width = model.config.hidden_size;
    let mut found = vec![Vec::new(); sequences.len()];
    for (states, rows) in through(model, batches).iter().zip(rows) {
        for rows in rows {
            for (first, count) in rows.last(sequences[rows.number].len()) {
                found[rows.number].extend_from_slice(&states[first * width..(first + count) * width]);
            }
        }
    }
    (found, plan)
}

#[test]
fn what_is_shared_is_what_it_would_be_alone() {
    let model = model();
    let sequences: [&[u32]; 9] = [
        &[1, 356, 310, 274, 345],
        &[1, 460, 435, 282, 265, 530, 399],
        &[1, 356, 310, 99],
        &[1, 356, 310, 274, 345],
        &[1],
        &[7, 8, 9],
        &[1, 356, 310, 274, 345, 12, 13],
        &[1, 460, 435, 282, 265, 530, 11, 12],
        &[1, 460, 435, 282, 265, 530, 399, 14],
    ];
    let width = model.config.hidden_size;
    for (max_tokens, tokens) in [(1000, 1 + 3 + 2 + 2 + 7 + 1 + 1 + 3), (6, 0), (1, 0)] {
        let (found, plan) = shared(&model, &sequences, max_tokens);
        if tokens > 0 {
            assert_eq!((plan.tokens(), plan.batches()), (tokens, 1), "{plan:?}");
        }
        for (sequence, found) in sequences.iter().zip(&found) {
            let alone = through(&model, vec![model.batch(&[sequence]).unwrap()]);
            assert_eq!(found.len(), sequence.len() * width);
            let apart = found.iter().zip(&alone[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{sequence:?} in batches of {max_tokens}: {apart}");
        }
    }
}

#[test]
fn rows_are_cut_into_their_runs() {
    let rows = SequenceRows { number: 0, runs: vec![(10, 3), (20, 2)] };
    assert_eq!(rows.last(1), [(21, 1)]);
    assert_eq!(rows.last(4), [(11, 2), (20, 2)]);
    assert_eq!(rows.last(0), []);
    let mut cut = rows;
    cut.truncate(4);
    assert_eq!(cut.runs, [(10, 3), (20, 1)]);
    cut.truncate(3);
    assert_eq!(cut.runs, [(10, 3)]);
}
