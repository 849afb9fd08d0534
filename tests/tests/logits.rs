//! The forward pass against logits recorded from `transformers` (`tests/scripts/make_logits.py`).

use espalier_host::{
    device::Device,
    model::{HiddenStates, Llama, ModelError, Placement},
};
use safetensors::SafeTensors;
use std::sync::Arc;

const CASES: [&str; 11] = [
    "attention_bias",
    "dynamic_rope",
    "gqa_tied",
    "head_dim",
    "linear_rope",
    "llama3_rope",
    "mha",
    "mistral_window",
    "odd",
    "sharded_bf16",
    "yarn_rope",
];

/// Largest absolute difference that is let pass, on logits of order 10.
const TOLERANCE: f32 = 1e-3;

#[test]
fn every_recorded_case_is_tested() {
    let folders = espalier_tests::path("fixtures/logits").read_dir().unwrap();
    let mut names: Vec<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, CASES);
}

#[test]
fn logits_on_the_cpu_are_those_of_transformers() {
    compare_all(&espalier_tests::cpu());
}

#[test]
fn logits_on_the_gpu_are_those_of_transformers() {
    compare_all(&espalier_tests::gpu());
}

fn compare_all(device: &Arc<dyn Device>) {
    for case in CASES {
        let folder = espalier_tests::path("fixtures/logits").join(case);
        let recorded = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let recorded = SafeTensors::deserialize(&recorded).unwrap();
        let model = Llama::open(&folder, Arc::clone(device)).unwrap();
        for name in recorded.names().into_iter().filter(|name| name.starts_with("input_ids")) {
            let ids = recorded.tensor(name).unwrap();
            let expected = recorded.tensor(&name.replace("input_ids", "logits")).unwrap();
            let length = ids.shape()[1];
            let ids: Vec<u32> = bytemuck::pod_collect_to_vec(ids.data());
            let expected: Vec<f32> = bytemuck::pod_collect_to_vec(expected.data());
            let found = logits(&model, &ids.chunks(length).collect::<Vec<_>>());
            assert_eq!(found.len(), expected.len());
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.iter().all(|x| x.is_finite()), "{case} {name}");
            assert!(worst <= TOLERANCE, "{case} {name}: off by {worst}");
        }
    }
}

fn logits(model: &Llama, sequences: &[&[u32]]) -> Vec<f32> {
    let mut hidden = HiddenStates::embed(model, sequences, 1 << 20, &Placement::Device).unwrap();
    for index in 0..model.config.num_hidden_layers {
        let block = model.load_block(index).unwrap();
        hidden.advance(model, &block, |_| {}).unwrap();
    }
    let head = model.load_head().unwrap();
    let device = &*model.device;
    let mut found = Vec::new();
    let visited = hidden.visit(model, |_, states| {
        found.extend(device.to_f32(&model.logits(&head, states)?)?);
        Ok::<_, ModelError>(())
    });
    visited.unwrap();
    found
}
