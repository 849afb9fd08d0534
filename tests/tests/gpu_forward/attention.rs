use crate::close;
use espalier_host::device::{AttentionShape, Device, Op, Span};
use espalier_tests::gpu::{TestGpu, noise};

/// Attention in f64, row by row; rows of no span are NaN.
fn reference(q: &[f32], k: &[f32], v: &[f32], shape: &AttentionShape, spans: &[Span]) -> Vec<f64> {
    let &AttentionShape { heads, kv_heads, head_dim, scale, window } = shape;
    let mut out = vec![f64::NAN; q.len()];
    for span in spans {
        for (i, head) in (0..span.queries).flat_map(|i| (0..heads).map(move |head| (i, head))) {
            let query = ((span.query_start + i) * heads + head) * head_dim;
            let position = span.keys - span.queries + i;
            let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
            let row = |j: usize| ((span.key_start + j) * kv_heads + head * kv_heads / heads) * head_dim;
            let scores: Vec<f64> = (first..=position)
                .map(|j| {
                    let products = (0..head_dim).map(|d| f64::from(q[query + d]) * f64::from(k[row(j) + d]));
                    products.sum::<f64>() * f64::from(scale)
                })
                .collect();
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for d in 0..head_dim {
                let values = weights.iter().zip(first..).map(|(weight, j)| weight * f64::from(v[row(j) + d]));
                out[query + d] = values.sum::<f64>() / sum;
            }
        }
    }
    out
}

fn check(
    gpu: &TestGpu,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    window: Option<usize>,
    spans: &[Span],
) {
    let shape = AttentionShape { heads, kv_heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), window };
    // One row of each that belongs to no sequence.
    let rows = spans.iter().map(|span| span.query_start + span.queries).max().unwrap_or(0) + 1;
    let keys = spans.iter().map(|span| span.key_start + span.keys).max().unwrap_or(0) + 1;
    let scaled = |seed, count| noise(seed, count).iter().map(|x| 3.0 * x).collect::<Vec<f32>>();
    let q = scaled(1, rows * heads * head_dim);
    let k = scaled(2, keys * kv_heads * head_dim);
    let v = scaled(3, keys * kv_heads * head_dim);
    let mut out = gpu.unwritten(rows, heads * head_dim);
    let (q_tensor, k_tensor) = (gpu.f32(rows, heads * head_dim, &q), gpu.f32(keys, kv_heads * head_dim, &k));
    let v_tensor = gpu.f32(keys, kv_heads * head_dim, &v);
    gpu.execute(
        Op::Attention { q: &q_tensor, k: &k_tensor, v: &v_tensor, shape, spans: spans.to_vec() },
        &mut out,
    )
    .expect("it runs");
    let want = reference(&q, &k, &v, &shape, spans);
    for (i, (got, want)) in gpu.output(&out).into_iter().zip(want).enumerate() {
        if want.is_nan() {
            assert!(got.is_nan(), "element {i} belongs to no sequence");
            continue;
        }
        // The values are below 3, and so is any mean of them; scores are up to about 50.
        close(got, want, 3e-5, || {
            let (row, column) = (i / (heads * head_dim), i % (heads * head_dim));
            format!("[{row}, {column}], {heads}/{kv_heads} heads of {head_dim}, window {window:?}, {spans:?}")
        });
    }
}

fn whole(lengths: &[usize]) -> Vec<Span> {
    let mut start = 0;
    let spans = lengths.iter().map(|&length| {
        let span = Span { query_start: start, queries: length, key_start: start, keys: length };
        start += length;
        span
    });
    spans.collect()
}

#[test]
fn sequences_of_odd_lengths_and_heads() {
    let gpu = TestGpu::open(None);
    for head_dim in [1, 4, 6, 17, 31, 32, 33, 64, 100, 128, 200, 256] {
        check(&gpu, 2, 1, head_dim, None, &whole(&[65, 3]));
    }
    for length in [1, 3, 17, 31, 32, 33, 64, 65, 127, 200] {
        check(&gpu, 1, 1, 8, None, &whole(&[length]));
    }
}

#[test]
fn grouped_heads() {
    let gpu = TestGpu::open(None);
    for (heads, kv_heads) in [(1, 1), (4, 4), (4, 2), (6, 2), (8, 1), (9, 3)] {
        check(&gpu, heads, kv_heads, 16, None, &whole(&[40, 1, 70]));
    }
}

#[test]
fn windows_hide_what_is_out_of_reach() {
    let gpu = TestGpu::open(None);
    for window in [1, 2, 31, 32, 33, 64, 100, 199, 200, 1000] {
        check(&gpu, 2, 1, 12, Some(window), &whole(&[200, 5]));
    }
}

#[test]
fn queries_at_the_end_of_their_keys() {
    let gpu = TestGpu::open(None);
    let spans = [
        Span { query_start: 0, queries: 1, key_start: 0, keys: 1 },
        Span { query_start: 1, queries: 1, key_start: 1, keys: 150 },
        // No queries, and a gap of rows on both sides.
        Span { query_start: 4, queries: 0, key_start: 155, keys: 20 },
        Span { query_start: 4, queries: 70, key_start: 180, keys: 99 },
    ];
    for window in [None, Some(40), Some(70)] {
        check(&gpu, 4, 2, 20, window, &spans);
    }
}

#[test]
fn keys_and_queries_in_many_panels() {
    // Rows of 96 and 48 elements: panels of 2 and 5 rows, of 10 and 21, and of 42 and 85.
    for limit in [1000, 4096, 16384] {
        let gpu = TestGpu::open(Some(limit));
        let windows: &[_] = if limit == 4096 { &[None, Some(1), Some(50)] } else { &[Some(50)] };
        for &window in windows {
            check(&gpu, 4, 2, 24, window, &whole(&[1, 100, 31]));
        }
        // Of rows that are no whole vectors.
        check(&gpu, 3, 1, 17, Some(20), &whole(&[70]));
    }
}

#[test]
fn hidden_keys_do_no_harm_and_bad_ones_are_not_hidden() {
    let gpu = TestGpu::open(None);
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 4, scale: 0.5, window: Some(4) };
    let spans = whole(&[40]);
    let (q, mut k, v) = (noise(1, 160), noise(2, 160), noise(3, 160));
    k[4 * 20 + 1] = f32::NAN;
    let mut out = gpu.unwritten(40, 4);
    let [q, k, v] = [q, k, v].map(|x| gpu.f32(40, 4, &x));
    gpu.execute(Op::Attention { q: &q, k: &k, v: &v, shape, spans: spans.to_vec() }, &mut out)
        .expect("it runs");
    for (row, values) in gpu.output(&out).chunks(4).enumerate() {
        let sees = (20..24).contains(&row);
        assert!(values.iter().all(|x| x.is_nan() == sees), "row {row}: {values:?}");
    }
}

#[test]
fn scores_far_apart_do_not_overflow() {
    let gpu = TestGpu::open(None);
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 1, scale: 1.0, window: None };
    let keys = [-1e10, 1e10, 0.0, 1e10];
    let (q, k, v) = (gpu.f32(4, 1, &[1.0; 4]), gpu.f32(4, 1, &keys), gpu.f32(4, 1, &[1.0, 2.0, 3.0, 4.0]));
    let mut out = gpu.unwritten(4, 1);
    gpu.execute(Op::Attention { q: &q, k: &k, v: &v, shape, spans: whole(&[4]).to_vec() }, &mut out)
        .expect("it runs");
    assert_eq!(gpu.output(&out), [1.0, 2.0, 2.0, 3.0]);
}
