//! The cost of the FFI boundary: an operation of the device on one number, with a new tensor for its result, asked for
//! directly and by a plugin.
//!
//! ```text
//! cargo build --release --workspace && cargo bench -p espalier-tests --bench border
//! ```
//!
//! The difference is what each operation of a method costs more for being asked over the border: three calls (make a
//! tensor, compute, free it), their conversions, and looking up handles. `host prune --profile` counts the operations.

use criterion::{Criterion, criterion_group, criterion_main};
use espalier_host::{
    device::{DType, Op, Unary},
    plugins::{DeviceTensors, NoHost, find, load},
};
use espalier_sdk::{
    Sparsity,
    message::{LayerData, MethodCall, TensorHandle},
};
use espalier_tests::{built, cpu};
use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::Instant,
};

/// The call for a layer.
fn layer(
    weight: TensorHandle,
    tokens: u64,
    statistics: BTreeMap<String, TensorHandle>,
    target: Sparsity,
) -> MethodCall {
    let (name, projection) = ("layer".to_owned(), "up_proj".to_owned());
    let layer = LayerData {
        name,
        block: 0,
        projection,
        target,
        row_counts: None,
        weight,
        dense: weight,
        mask: None,
        low_rank: None,
        tokens,
        windows: Vec::new(),
        token_weights: None,
        statistics,
    };
    MethodCall::Layer { layer: Box::new(layer), seed: 0 }
}

fn border(c: &mut Criterion) {
    let device = cpu();
    let one = || device.from_f32(1, 1, vec![1.0]).expect("one number");
    let mut group = c.benchmark_group("an operation on one number");
    group.bench_function("direct", |b| {
        let x = one();
        b.iter(|| {
            let mut out = device.zeros(DType::F32, 1, 1).expect("one number");
            device
                .execute(Op::Map { x: &x, f: Unary::Identity, scale: 1.0, shift: 0.0 }, &mut out)
                .expect("a copy");
            out
        });
    });
    let library = find(&built().join("libasks.so").to_string_lossy()).expect("build the workspace first");
    let library = load(&library).expect("a plugin");
    group.bench_function("over the border", |b| {
        b.iter_custom(|times| {
            let options = BTreeMap::from([("times".to_owned(), times.to_string())]);
            let (method, ..) = library.method("asks", &options).expect("its method");
            let tensors = Arc::new(DeviceTensors::new(Arc::clone(&device)));
            let weight = tensors.lend(&Arc::new(RwLock::new(one())));
            let began = Instant::now();
            let call = layer(weight, 0, BTreeMap::new(), Sparsity::Ratio(0.5));
            let pruned = method.prune(&call, &NoHost, tensors.clone());
            let spent = began.elapsed();
            pruned.expect("a copy");
            spent
        });
    });
}

criterion_group!(benches, border);
criterion_main!(benches);
