//! How fast the CPU twins are. Run with `cargo bench -p espalier-shaders`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use espalier_shaders::*;
use half::bf16;

/// Elements that are neither equal nor regular.
fn elements(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| next() + next() + next() - 1.5).collect()
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    group.sample_size(10);
    for (tokens, inputs, outputs) in
        [(1024, 1024, 1024), (2048, 4096, 11008), (16384, 768, 768), (1, 4096, 4096)]
    {
        let (x, w) = (elements(tokens * inputs), elements(outputs * inputs));
        let brain: Vec<bf16> = w.iter().map(|x| bf16::from_f32(*x)).collect();
        let mut y = vec![0.0; tokens * outputs];
        group.throughput(Throughput::ElementsAndBytes {
            elements: 2 * (tokens * inputs * outputs) as u64,
            bytes: (outputs * inputs * 4) as u64,
        });
        for (name, w, compute) in [
            ("f32", Floats::F32(&w), Compute::F32),
            ("bf16", Floats::BF16(&brain), Compute::F32),
            ("bf16 in bf16", Floats::BF16(&brain), Compute::BF16),
        ] {
            group.bench_function(format!("{name} {tokens}x{inputs}x{outputs}"), |b| {
                let input = linear::Input { x: &x, tokens, inputs, norm: None };
                b.iter(|| {
                    let layer =
                        linear::Layer { w: w.into(), bias: None, onto: linear::Onto::Nothing, y: &mut y };
                    linear::cpu(input, compute, &mut [layer]);
                });
            });
        }
    }
}

fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward");
    group.sample_size(10);
    for (tokens, spans, heads, kv_heads, head_dim) in
        [(512, 1, 12, 12, 64), (512, 32, 12, 12, 64), (2048, 1, 32, 8, 128)]
    {
        let shape = AttentionShape { heads, kv_heads, head_dim, scale: 0.125, window: None };
        let spans: Vec<_> = (0..spans)
            .map(|i| Span { query_start: i * tokens, queries: tokens, key_start: i * tokens, keys: tokens })
            .collect();
        let q = elements(tokens * spans.len() * heads * head_dim);
        let k = elements(tokens * spans.len() * kv_heads * head_dim);
        let mut out = vec![0.0; q.len()];
        group.throughput(Throughput::Elements((2 * tokens * tokens * heads * head_dim * spans.len()) as u64));
        group.bench_function(
            format!("attention {tokens} tokens x {} x {heads} heads x {head_dim}", spans.len()),
            |b| {
                b.iter(|| attention::cpu(&q, &k, &k, &shape, &spans, &mut out));
            },
        );
    }
    let (rows, cols) = (16384, 768);
    let (x, weight) = (elements(rows * cols), elements(cols));
    let mut y = vec![0.0; x.len()];
    group.throughput(Throughput::Bytes((rows * cols * 8) as u64));
    group.bench_function("rms_norm 16384x768", |b| {
        b.iter(|| rms_norm::cpu(&x, Floats::F32(&weight), 1e-5, cols, &mut y));
    });
    let targets = vec![7; 512];
    let logits = elements(512 * 32_000);
    let mut loss = vec![0.0; 512];
    group.throughput(Throughput::Bytes((512 * 32_000 * 4) as u64));
    group.bench_function("cross_entropy 512x32000", |b| {
        b.iter(|| cross_entropy::cpu(&logits, 32_000, &targets, &mut loss));
    });
}

fn pruning(c: &mut Criterion) {
    let mut group = c.benchmark_group("pruning");
    group.sample_size(10);
    let (rows, cols) = (4096, 11008);
    let x: Vec<f32> = elements(rows * cols).into_iter().map(f32::abs).collect();
    let mut out = vec![0.0; x.len()];
    let mut mask = vec![0; rows * cols / 32];
    group.throughput(Throughput::Bytes((rows * cols * 4) as u64));
    group.bench_function("select_rows 4096x11008", |b| {
        b.iter(|| select_rows::cpu(Scores::of(&x, cols), cols / 2, &mut mask));
    });
    group.bench_function("select_rows of |a| * row 4096x11008", |b| {
        let scores = Scores { f: Unary::Abs, a: &x, cols, by: Some((Binary::Multiply, &x[..cols])) };
        b.iter(|| select_rows::cpu(scores, cols / 2, &mut mask));
    });
    group.bench_function("select_groups 2:4 4096x11008", |b| {
        b.iter(|| select_groups::cpu(Scores::of(&x, cols), 2, 4, &mut mask));
    });
    group.bench_function("select_mass 4096x11008", |b| {
        b.iter(|| select_mass::cpu(Scores::of(&x, cols), 0.4, &mut mask));
    });
    group.bench_function("zero_where 4096x11008", |b| b.iter(|| zero_where::cpu(&mask, cols, &mut out)));
    group.bench_function("zip |a| * row 4096x11008", |b| {
        let shape = (rows, cols);
        b.iter(|| zip::cpu(Unary::Abs, &x, Binary::Multiply, 1.0, &x[..cols], Repeat::Row, shape, &mut out));
    });
    group.bench_function("reduce_columns squares 4096x11008", |b| {
        b.iter(|| reduce_columns::cpu(Reduction::SumSquares, &x, false, &mut out[..cols]));
    });
    group.bench_function("reduce_rows squares 4096x11008", |b| {
        b.iter(|| reduce_rows::cpu(Reduction::SumSquares, &x, cols, false, &mut out[..rows]));
    });
}

fn algebra(c: &mut Criterion) {
    let mut group = c.benchmark_group("algebra");
    group.sample_size(10);
    let (tokens, side) = (2048, 4096);
    let x = elements(tokens * side);
    let mut gram = vec![0.0; side * side];
    group.throughput(Throughput::Elements((tokens * side * side) as u64));
    group.bench_function("gram 2048x4096", |b| b.iter(|| gram::cpu(&x, side, &mut gram)));
    gram.fill(0.0);
    gram::cpu(&x, side, &mut gram);
    gram.iter_mut().step_by(side + 1).for_each(|x| *x += 100.0);
    let (mut lower, mut inverse) = (gram.clone(), gram.clone());
    group.throughput(Throughput::Elements((side * side * side / 3) as u64));
    group.bench_function("cholesky 4096", |b| {
        b.iter(|| {
            lower.copy_from_slice(&gram);
            cholesky::cpu(&mut lower, side).expect("it is positive definite");
        });
    });
    group.bench_function("triangular_inverse 4096", |b| {
        b.iter(|| {
            inverse.copy_from_slice(&lower);
            triangular_inverse::cpu(&mut inverse, side);
        });
    });
}

criterion_group!(benches, products, forward, pruning, algebra);
criterion_main!(benches);
