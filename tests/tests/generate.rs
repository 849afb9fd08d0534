//! Greedy generation gives the tokens of transformers' `generate`, on both devices, however the prompts are
//! batched. The fixtures were recorded by `scripts/make_prompts.py` and `scripts/make_generate.py`.

use espalier_host::{
    device::Device,
    model::{Generation, Llama},
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Deserialize)]
struct Recorded {
    new_tokens: usize,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    model: String,
    input_ids: Vec<u32>,
    output_ids: Vec<u32>,
}

fn read<T: for<'a> Deserialize<'a>>(fixture: &str) -> T {
    let text = std::fs::read_to_string(espalier_tests::path("fixtures").join(fixture)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn written(model: &Llama, rows: &[Row], options: &Generation) -> Vec<Vec<u32>> {
    let prompts: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
    let written = model.generate(&prompts, options, || {}).unwrap();
    for written in &written {
        let at_end = written.tokens.last().is_some_and(|last| options.end_tokens.contains(last));
        assert_eq!(written.ended, at_end);
    }
    written.into_iter().map(|written| written.tokens).collect()
}

fn compare(device: &Arc<dyn Device>, batches: &[usize]) {
    let recorded: Recorded = read("generate.json");
    let model = Llama::open(&espalier_tests::path("models/tiny-instruct"), Arc::clone(device)).unwrap();
    let expected: Vec<_> = recorded.rows.iter().map(|row| row.output_ids.clone()).collect();
    assert!(expected.iter().any(|ids| ids.len() < recorded.new_tokens), "some end by themselves");
    for &sequences in batches {
        let options = Generation { sequences, ..Generation::greedy(&model.config, recorded.new_tokens) };
        assert_eq!(written(&model, &recorded.rows, &options), expected, "{sequences} at a time");
    }
}

/// Grouped heads, a sliding window and rotary frequencies that change as the text grows.
fn compare_random_models(device: &Arc<dyn Device>, batches: &[usize]) {
    let mut models: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in read::<Vec<Row>>("generate_random.json") {
        models.entry(row.model.clone()).or_default().push(row);
    }
    assert_eq!(models.len(), 3);
    for (name, rows) in models {
        let folder = espalier_tests::path("fixtures/logits").join(&name);
        let model = Llama::open(&folder, Arc::clone(device)).unwrap();
        for &sequences in batches {
            let options = Generation {
                max_new_tokens: rows[0].output_ids.len(),
                end_tokens: Vec::new(),
                sequences,
                ..Generation::greedy(&model.config, 0)
            };
            let expected: Vec<_> = rows.iter().map(|row| row.output_ids.clone()).collect();
            assert_eq!(written(&model, &rows, &options), expected, "{name}, {sequences} at a time");
        }
    }
}

#[test]
fn tokens_on_the_cpu_are_those_of_transformers() {
    let device = espalier_tests::cpu();
    compare(&device, &[1, 3, 64]);
    compare_random_models(&device, &[1, 2, 64]);
}

#[test]
fn tokens_on_the_gpu_are_those_of_transformers() {
    let device = espalier_tests::gpu();
    // Fewer places than prompts: a prompt is read while others are written.
    compare(&device, &[5]);
    compare_random_models(&device, &[2]);
}
