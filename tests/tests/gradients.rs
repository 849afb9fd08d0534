//! The backward pass through a block against PyTorch's autograd in double precision (`tests/scripts/make_gradients.py`), and
//! against finite differences.

use espalier_host::{
    device::{DType, Device, Tensor},
    model::{Block, HiddenStates, Llama, Placement, Window, layout::Projection},
};
use espalier_tests::random::Random;
use safetensors::SafeTensors;
use std::sync::Arc;

/// The lengths of the two sequences that are recorded.
const LENGTHS: [usize; 2] = [7, 12];

/// The lengths of sequences whose attention is computed in several parts.
const LONG: [usize; 2] = [20, 300];

/// Every how many rows of a weight's gradient are recorded.
const EVERY: usize = 4;

/// The largest error, relative to the largest element of a gradient.
const TOLERANCE: f64 = 2e-5;

#[test]
fn gradients_on_the_cpu_are_those_of_autograd() {
    compare_all(&espalier_tests::cpu());
}

#[test]
fn gradients_on_the_gpu_are_those_of_autograd() {
    compare_all(&espalier_tests::gpu());
}

fn compare_all(device: &Arc<dyn Device>) {
    let mut folders: Vec<_> = espalier_tests::path("fixtures/logits")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert_eq!(folders.len(), 11);
    let mut worst = 0.0_f64;
    for folder in folders {
        let recorded = std::fs::read(folder.join("gradients.safetensors")).unwrap();
        let recorded = SafeTensors::deserialize(&recorded).unwrap();
        let expected =
            |name: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(recorded.tensor(name).unwrap().data()) };
        let model = Llama::open(&folder, Arc::clone(device)).unwrap();
        let block = model.load_block(model.config.num_hidden_layers - 1).unwrap();
        let (hidden, gradient) = (expected("hidden"), expected("gradient"));
        let found = backward(&model, &block, LENGTHS, &hidden, &gradient, &[]);
        let mut check = |name: &str, found: &[f32]| {
            let expected = expected(name);
            assert_eq!(found.len(), expected.len(), "{} {name}", folder.display());
            let scale = expected.iter().fold(0.0_f64, |scale, x| scale.max(f64::from(x.abs())));
            let differences = found.iter().zip(&expected).map(|(a, b)| f64::from((a - b).abs()) / scale);
            let error = differences.fold(0.0, f64::max);
            worst = worst.max(error);
            assert!(error <= TOLERANCE, "{} {name}: a relative error of {error:.1e}", folder.display());
        };
        check("output", &found.output);
        check("input", &found.input);
        for (projection, gradient) in &found.weights {
            let (_, cols) = projection.shape(&model.config);
            let rows: Vec<f32> = gradient.chunks_exact(cols).step_by(EVERY).flatten().copied().collect();
            check(projection.name(), &rows);
        }
    }
    println!("{}: the largest relative error is {worst:.1e}", device.info());
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let device = espalier_tests::cpu();
    let folder = espalier_tests::path("fixtures/logits/gqa_tied");
    let model = Llama::open(&folder, Arc::clone(&device)).unwrap();
    let block = model.load_block(0).unwrap();
    let mut random = Random::new(5);
    let tokens: usize = LONG.iter().sum();
    let hidden = random.normal(tokens * model.config.hidden_size);
    let gradient = random.normal(hidden.len());
    let found = backward(&model, &block, LONG, &hidden, &gradient, &[]);
    for projection in Projection::ALL {
        let own = &block.linear(projection).weight;
        let mut weight = device.zeros(DType::F32, own.rows(), own.cols()).unwrap();
        device.execute(espalier_host::device::Op::Convert { x: own }, &mut weight).unwrap();
        let weight = device.to_f32(&weight).unwrap();
        let direction = random.normal(weight.len());
        let loss = |step: f32| {
            let moved = weight.iter().zip(&direction).map(|(w, d)| w + step * d).collect();
            let moved = device.from_f32(own.rows(), own.cols(), moved).unwrap();
            // A candidate in the place of the block's own weight.
            let output = backward(&model, &block, LONG, &hidden, &gradient, &[(projection, &moved)]).output;
            dot(&output, &gradient)
        };
        const STEP: f32 = 1e-3;
        let measured = (loss(STEP) - loss(-STEP)) / (2.0 * f64::from(STEP));
        let (_, by_weight) = found.weights.iter().find(|(of, _)| *of == projection).unwrap();
        let computed = dot(by_weight, &direction);
        let error = (measured - computed).abs() / computed.abs().max(1.0);
        assert!(error < 1e-2, "{}: {computed} is computed, {measured} is measured", projection.name());
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// A block's output and gradients, on the host.
struct Found {
    output: Vec<f32>,
    input: Vec<f32>,
    weights: Vec<(Projection, Vec<f32>)>,
}

fn backward(
    model: &Llama,
    block: &Block,
    lengths: [usize; 2],
    hidden: &[f32],
    gradient: &[f32],
    others: &[(Projection, &Tensor)],
) -> Found {
    let device = &model.device;
    let tokens: usize = lengths.iter().sum();
    let sequences = lengths.map(|length| vec![1_u32; length]);
    let batch = model.batch(&[&sequences[0], &sequences[1]]).unwrap();
    let upload = |x: &[f32]| device.from_f32(tokens, model.config.hidden_size, x.to_vec()).unwrap();
    let (tape, output) = model.record(block, &batch, upload(hidden), others).unwrap();
    let gradients = model.backward(block, tape, &upload(gradient)).unwrap();
    Found {
        output: device.to_f32(&output).unwrap(),
        input: device.to_f32(&gradients.input).unwrap(),
        weights: gradients
            .weights
            .iter()
            .map(|(projection, gradient)| (*projection, device.to_f32(gradient).unwrap()))
            .collect(),
    }
}

/// Losses and gradients are sums over tokens, each times its weight: those of two masks that make a third add up to its own.
#[test]
fn losses_and_their_gradients_weigh_tokens() {
    let tokens: Vec<u32> = (0..40).map(|token| token * 23 % 500).collect();
    let first: Vec<f32> = (0..40).map(|token| [0.0, 0.5, 1.0][token % 3]).collect();
    let second: Vec<f32> = first.iter().map(|weight| 1.0 - weight).collect();
    for device in [espalier_tests::cpu(), espalier_tests::gpu()] {
        let model = Llama::open(&espalier_tests::path("models/tiny-instruct"), device).unwrap();
        let head = model.load_head().unwrap();
        let measure = |loss_mask: &[f32]| {
            let window = Window { input_ids: &tokens, loss_mask };
            let hidden = HiddenStates::embed(&model, &[window], 64, &Placement::Device).unwrap();
            let (batch, states) = hidden.copy(&model, 0).unwrap();
            let gradient = model.loss_gradient(&head, batch, &states).unwrap();
            // The first token is not predicted.
            let weight: f64 = (1..tokens.len()).map(|token| f64::from(batch.weight(token))).sum();
            let mut sums = vec![weight * model.mean_loss(&hidden).unwrap()];
            let gradient = model.device.to_f32(&gradient).unwrap();
            sums.extend(gradient.into_iter().map(|x| weight * f64::from(x)));
            sums
        };
        let (first, second, all) = (measure(&first), measure(&second), measure(&[]));
        assert!(first[0] > 1.0 && second[0] > 1.0);
        let scale = all[1..].iter().fold(0.0, |scale: f64, x| scale.max(x.abs()));
        for (at, (sum, all)) in first.iter().zip(&second).map(|(a, b)| a + b).zip(&all).enumerate() {
            let scale = if at == 0 { all.abs() } else { scale };
            assert!((sum - all).abs() <= 1e-5 * scale, "{at}: {sum} for {all}");
        }
        let nothing = measure(&vec![0.0; tokens.len()]);
        assert!(nothing.iter().all(|&x| x == 0.0));
    }
}
