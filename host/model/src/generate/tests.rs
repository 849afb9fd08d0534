use super::{
    blocks::Blocks,
    step::{Ropes, Step},
    *,
};
use espalier_device::cpu::Cpu;
use std::{path::Path, sync::Arc};

fn model() -> Llama {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-instruct");
    Llama::open(&folder, Arc::new(Cpu::new())).unwrap()
}

const PROMPTS: [&[u32]; 4] =
    [&[1, 356, 310, 274, 345], &[1], &[1, 577, 310], &[1, 460, 435, 282, 265, 530, 399]];

#[test]
fn blocks_that_are_streamed_give_the_same_logits() {
    let model = model();
    let sequence = |(index, &prompt): (usize, &&'static [u32])| Sequence {
        index,
        prompt,
        cached: 0,
        written: Vec::new(),
        slot: PROMPTS.len() - 1 - index,
        rng: Rng::new(0),
    };
    let mut logits = Vec::new();
    for keep in [4, 1, 0] {
        let mut cache = Cache::allocate(&model, PROMPTS.len(), 9).unwrap();
        let mut sequences: Vec<_> = PROMPTS.iter().enumerate().map(sequence).collect();
        let ropes = Ropes::new(&model, 9).unwrap();
        let mut blocks = Blocks::load(&model).unwrap();
        blocks.keep(keep);
        let head = model.load_head().unwrap();
        let mut found = Vec::new();
        for _ in 0..2 {
            let step = Step::new(&model, &sequences, &ropes, &cache).unwrap();
            found.extend(blocks.run(&model, &head, &step, &mut cache).unwrap());
            sequences.iter_mut().for_each(|sequence| sequence.written.push(69));
        }
        logits.push(found);
    }
    assert_eq!(logits[0].len(), 2 * PROMPTS.len() * model.config.vocab_size);
    assert!(logits[1] == logits[0] && logits[2] == logits[0]);
}

#[test]
fn draws_do_not_depend_on_the_neighbours() {
    let model = model();
    let sampling =
        Sampling { temperature: 1.2, top_k: Some(50), top_p: Some(0.95), min_p: Some(0.001), seed: 3 };
    let options = Generation {
        end_tokens: Vec::new(),
        sampling: Some(sampling),
        ..Generation::greedy(&model.config, 6)
    };
    let together = model.generate(&PROMPTS, &options, || {}).unwrap();
    let by_one = model.generate(&PROMPTS, &Generation { sequences: 1, ..options.clone() }, || {}).unwrap();
    assert_eq!(together, by_one);
    let other_seed = Sampling { seed: 4, ..options.sampling.clone().unwrap() };
    let others =
        model.generate(&PROMPTS, &Generation { sampling: Some(other_seed), ..options }, || {}).unwrap();
    assert_ne!(together, others);
}

#[test]
fn limits_and_empty_prompts() {
    let model = model();
    let greedy = |limit| Generation::greedy(&model.config, limit);
    assert!(model.generate(&[], &greedy(3), || {}).unwrap().is_empty());
    assert!(model.generate(&PROMPTS, &greedy(0), || {}).unwrap()[3].tokens.is_empty());
    let mut done = 0;
    let written = model.generate(&PROMPTS, &greedy(2), || done += 1).unwrap();
    assert!(written.iter().all(|written| written.tokens.len() <= 2));
    assert_eq!(done, PROMPTS.len());
    // Nothing is read as the token that begins a text.
    assert_eq!(
        model.generate(&[&[]], &greedy(4), || {}).unwrap(),
        model.generate(&[&[1]], &greedy(4), || {}).unwrap()
    );
    let mut without = self::model();
    without.config.bos_token_id = None;
    let error = without.generate(&[&[1], &[]], &greedy(4), || {}).unwrap_err();
    assert!(matches!(error, ModelError::EmptyPrompt { index: 1 }), "{error}");
    let error = model.generate(&[&[1, 5000]], &greedy(4), || {}).unwrap_err();
    assert!(matches!(error, ModelError::Token { token: 5000, .. }), "{error}");
}

/// The same text comes whether its beginning is read or taken from the text before it.
#[test]
fn a_conversation_goes_on_from_its_cache() {
    let model = model();
    let options = Generation { end_tokens: Vec::new(), ..Generation::greedy(&model.config, 12) };
    let mut generator = Generator::new(&model);
    let first = generator.write(PROMPTS[3], &options, |_| false).unwrap();
    assert_eq!(first, model.generate(&[PROMPTS[3]], &options, || {}).unwrap()[0]);
    let whole = [PROMPTS[3], &first.tokens].concat();
    // The whole text, the text with a turn behind it, texts that part from it early and late, and a longer one.
    let mut other = whole.clone();
    other[5] = 69;
    let longer = whole.repeat(4);
    for prompt in [&whole[..], &[&whole[..], PROMPTS[0]].concat(), &whole[..9], &other, &longer, &whole] {
        let alone = model.generate(&[prompt], &options, || {}).unwrap();
        assert_eq!(generator.write(prompt, &options, |_| false).unwrap(), alone[0], "{prompt:?}");
    }
    // A text that fails or is broken off does not spoil the next one.
    assert!(generator.write(&[1, 5000], &options, |_| false).is_err());
    let cut = generator.write(&whole, &options, |written| written.len() == 3).unwrap();
    assert_eq!(cut.tokens.len(), 3);
    let alone = model.generate(&[&whole], &options, || {}).unwrap();
    assert_eq!(generator.write(&whole, &options, |_| false).unwrap(), alone[0]);
}

#[test]
fn what_was_said_is_said_less_often() {
    let model = model();
    let options = Generation { end_tokens: Vec::new(), ..Generation::greedy(&model.config, 40) };
    let distinct = |penalty| {
        let options = Generation { repetition_penalty: penalty, ..options.clone() };
        let written = model.generate(&[PROMPTS[0]], &options, || {}).unwrap().remove(0);
        written.tokens.into_iter().collect::<std::collections::BTreeSet<_>>().len()
    };
    assert!(distinct(3.0) > distinct(1.0));
    let bad = Generation { repetition_penalty: 0.0, ..options };
    assert!(matches!(model.generate(&PROMPTS, &bad, || {}), Err(ModelError::Sampling(_))));
}
