//! The CPU twins against plain f64 computations, on odd shapes.

mod common;

use common::{Random, assert_close, floats};
use espalier_shaders::*;
use half::{bf16, f16};

#[test]
fn linear_agrees_with_f64() {
    let mut random = Random::new(1);
    for (tokens, inputs, outputs) in [
        (1, 1, 1),
        (1, 70, 33),
        (5, 64, 7),
        (7, 129, 130),
        (65, 200, 257),
        (1030, 33, 131),
        (2050, 530, 40),
        (9, 2100, 20),
        (8, 0, 3),
    ] {
        let x = random.normal(tokens * inputs);
        let bias = random.normal(outputs);
        let start = random.normal(tokens * outputs);
        let weight = random.normal(outputs * inputs);
        let half: Vec<f16> = weight.iter().map(|x| f16::from_f32(*x)).collect();
        let brain: Vec<bf16> = weight.iter().map(|x| bf16::from_f32(*x)).collect();
        for (w, compute) in [Floats::F32(&weight), Floats::F16(&half), Floats::BF16(&brain)]
            .into_iter()
            .flat_map(|w| Compute::ALL.map(|compute| (w, compute)))
        {
            let (mut rounded, mut wide) = (x.clone(), w.to_vec());
            compute.round(&mut rounded);
            compute.round(&mut wide);
            let gate = linear::Onto::Gate { w: w.into(), bias: Some(Floats::F32(&bias)) };
            for (bias, onto) in [None, Some(&bias)]
                .into_iter()
                .flat_map(|bias| [linear::Onto::Nothing, linear::Onto::Sum, gate].map(|onto| (bias, onto)))
            {
                let mut y = if matches!(onto, linear::Onto::Sum) {
                    start.clone()
                } else {
                    vec![f32::NAN; start.len()]
                };
                let shape = (tokens, inputs, outputs);
                let input = linear::Input { x: &x, tokens, inputs, norm: None };
                let bias = bias.map(|bias| Floats::F32(bias));
                let layer = linear::Layer { w: w.into(), bias, onto, y: &mut y };
                linear::cpu(input, compute, &mut [layer]);
                let expected = (0..tokens * outputs).map(|i| {
                    let (token, output) = (i / outputs, i % outputs);
                    let product = (0..inputs)
                        .map(|k| {
                            f64::from(rounded[token * inputs + k]) * f64::from(wide[output * inputs + k])
                        })
                        .sum::<f64>();
                    let sum = product + bias.map_or(0.0, |bias| f64::from(bias.to_vec()[output]));
                    match onto {
                        linear::Onto::Nothing => sum,
                        linear::Onto::Sum => f64::from(start[i]) + sum,
                        linear::Onto::Gate { bias, .. } => {
                            let gate = product + f64::from(bias.expect("it has one").to_vec()[output]);
                            gate / (1.0 + (-gate).exp()) * sum
                        }
                    }
                });
                assert_close(&y, expected, 1e-4, &format!("{shape:?} in {compute}"));
            }
        }
    }
}

#[test]
fn linear_does_not_depend_on_threads() {
    let mut random = Random::new(2);
    // More tokens than one thread prepares at a time, fewer than three do.
    let (tokens, inputs, outputs) = (4200, 200, 100);
    let (x, w) = (random.normal(tokens * inputs), random.normal(outputs * inputs));
    let run = |threads, compute| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut y = vec![0.0; tokens * outputs];
        let input = linear::Input { x: &x, tokens, inputs, norm: None };
        let layer =
            linear::Layer { w: Floats::F32(&w).into(), bias: None, onto: linear::Onto::Nothing, y: &mut y };
        pool.install(|| linear::cpu(input, compute, &mut [layer]));
        y
    };
    for compute in Compute::ALL {
        assert!(run(1, compute) == run(3, compute), "{compute}");
    }
}

/// Layers that share an input, and a norm on the way, change no bit of what each makes of rows that are normalised first.
#[test]
fn layers_that_share_an_input_make_what_each_makes_alone() {
    let mut random = Random::new(6);
    for (tokens, inputs) in [(3, 70), (65, 130), (2100, 96), (70, 1601), (0, 5)] {
        let (x, weight) = (random.normal(tokens * inputs), random.normal(inputs));
        let weight: Vec<bf16> = weight.iter().map(|x| bf16::from_f32(*x)).collect();
        let norm = rms_norm::Norm { weight: Floats::BF16(&weight), eps: 1e-5 };
        let mut normed = vec![f32::NAN; x.len()];
        rms_norm::cpu(&x, norm.weight, norm.eps, inputs, &mut normed);
        let outputs = [33, 1, 150];
        let weights = outputs.map(|outputs| random.normal(outputs * inputs));
        let (bias, start) = (random.normal(150), random.normal(tokens * 150));
        for compute in Compute::ALL {
            let mut ys = outputs.map(|outputs| start[..tokens * outputs].to_vec());
            let mut alone = ys.clone();
            let gate =
                |number: usize| linear::Onto::Gate { w: Floats::F32(&weights[number]).into(), bias: None };
            let layer = |number: usize, y| linear::Layer {
                w: Floats::F32(&weights[number]).into(),
                bias: (number > 0).then_some(Floats::F32(&bias[..outputs[number]])),
                onto: [linear::Onto::Nothing, gate(number), linear::Onto::Sum][number],
                y,
            };
            let mut layers: Vec<_> =
                ys.iter_mut().enumerate().map(|(number, y)| layer(number, &mut y[..])).collect();
            linear::cpu(linear::Input { x: &x, tokens, inputs, norm: Some(norm) }, compute, &mut layers);
            for (number, y) in alone.iter_mut().enumerate() {
                let input = linear::Input { x: &normed, tokens, inputs, norm: None };
                linear::cpu(input, compute, &mut [layer(number, y)]);
            }
            assert!(ys == alone, "{tokens} tokens of {inputs} in {compute}");
        }
    }
}

#[test]
fn attention_agrees_with_f64() {
    use espalier_shaders::{AttentionShape as Shape, Span};
    let mut random = Random::new(3);
    let span = |query_start, queries, key_start, keys| Span { query_start, queries, key_start, keys };
    let several = [span(0, 1, 0, 1), span(1, 70, 1, 70), span(71, 3, 71, 300), span(74, 200, 371, 200)];
    let long = [span(0, 800, 5, 910)];
    for (heads, kv_heads, head_dim, window, spans) in [
        (1, 1, 4, None, &several[..]),
        (4, 2, 16, None, &several),
        (6, 2, 20, Some(3), &several),
        (3, 1, 64, Some(100), &several),
        (2, 2, 33, Some(1), &several),
        (2, 1, 6, None, &long),
        (1, 1, 6, Some(90), &long),
        (1, 1, 5, Some(400), &long),
    ] {
        let shape = Shape { heads, kv_heads, head_dim, scale: 0.3, window };
        let queries = spans.iter().map(|span| span.query_start + span.queries).max().unwrap();
        let keys = spans.iter().map(|span| span.key_start + span.keys).max().unwrap();
        let q = random.normal(queries * heads * head_dim);
        let k = random.normal(keys * kv_heads * head_dim);
        let v = random.normal(keys * kv_heads * head_dim);
        let mut out = vec![f32::NAN; q.len()];
        attention::cpu(&q, &k, &v, &shape, spans, &mut out);
        let mut expected = vec![0.0; q.len()];
        for span in spans {
            for query in 0..span.queries {
                let position = span.keys - span.queries + query;
                let oldest = (position + 1).saturating_sub(window.unwrap_or(position + 1));
                for head in 0..heads {
                    let q_at = ((span.query_start + query) * heads + head) * head_dim;
                    let k_at = |key| ((span.key_start + key) * kv_heads + head * kv_heads / heads) * head_dim;
                    let score = |key| {
                        let dot: f64 =
                            (0..head_dim).map(|i| f64::from(q[q_at + i]) * f64::from(k[k_at(key) + i])).sum();
                        (dot * f64::from(shape.scale)).exp()
                    };
                    let total: f64 = (oldest..=position).map(score).sum();
                    for key in oldest..=position {
                        for i in 0..head_dim {
                            expected[q_at + i] += score(key) / total * f64::from(v[k_at(key) + i]);
                        }
                    }
                }
            }
        }
        assert_close(&out, expected, 3e-6, &format!("{shape:?}"));
    }
}

#[test]
fn attention_survives_great_scores() {
    use espalier_shaders::{AttentionShape as Shape, Span};
    let shape = Shape { heads: 1, kv_heads: 1, head_dim: 2, scale: 1.0, window: None };
    let span = Span { query_start: 0, queries: 200, key_start: 0, keys: 200 };
    let q = vec![300.0; 400];
    let k: Vec<f32> = (0..400).map(|i| i as f32 / 10.0).collect();
    let v: Vec<f32> = (0..400).map(|i| i as f32).collect();
    let mut out = vec![f32::NAN; 400];
    attention::cpu(&q, &k, &v, &shape, &[span], &mut out);
    // The last key outweighs the others by e^120 and more.
    assert_close(&out, v.iter().map(|v| f64::from(*v)), 1e-6, "great scores");
}

#[test]
fn rms_norm_agrees_with_f64() {
    let mut random = Random::new(4);
    for (rows, cols) in [(1, 1), (3, 31), (20, 768), (5, 1000)] {
        let (x, weight) = (random.normal(rows * cols), random.normal(cols));
        let weight: Vec<bf16> = weight.iter().map(|x| bf16::from_f32(*x)).collect();
        let mut y = vec![f32::NAN; rows * cols];
        rms_norm::cpu(&x, Floats::BF16(&weight), 1e-5, cols, &mut y);
        let expected = (0..rows * cols).map(|i| {
            let row = &x[i / cols * cols..][..cols];
            let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / cols as f64;
            f64::from(x[i]) / (mean + f64::from(1e-5f32)).sqrt() * weight[i % cols].to_f64()
        });
        assert_close(&y, expected, 1e-6, "rms_norm");
    }
}

#[test]
fn rope_turns_the_halves() {
    let mut random = Random::new(5);
    let (tokens, heads, head_dim) = (5, 3, 6);
    let x = random.normal(tokens * heads * head_dim);
    let table = random.normal(9 * head_dim);
    let positions = [8, 0, 3, 3, 1];
    let mut y = x.clone();
    rope::cpu(&mut y, heads * head_dim, head_dim, &table, &positions);
    let expected = (0..x.len()).map(|i| {
        let (token, head_start, lane) = (i / (heads * head_dim), i / head_dim * head_dim, i % head_dim);
        let row = &table[positions[token] as usize * head_dim..][..head_dim];
        let (pair, half) = (lane % (head_dim / 2), head_dim / 2);
        let (left, right) = (f64::from(x[head_start + pair]), f64::from(x[head_start + pair + half]));
        let (cos, sin) = (f64::from(row[pair]), f64::from(row[pair + half]));
        if lane < half { left * cos - right * sin } else { right * cos + left * sin }
    });
    assert_close(&y, expected, 1e-6, "rope");
}

/// Gates whose exponential leaves f32's range, and NaN.
#[test]
fn gates_of_every_size() {
    let values = [-90.0, 90.0, -1000.0, 1000.0, 0.0, -0.0, 1e-30, 88.8, -88.8, f32::NAN];
    let up = Random::new(6).normal(values.len());
    let x: Vec<f32> = values.iter().zip(&up).flat_map(|(gate, up)| [*gate, *up]).collect();
    // Repeated, so that tokens are few and many.
    for times in [1, 20] {
        let (x, tokens) = (x.repeat(times), values.len() * times);
        let mut y = vec![7.0; tokens];
        let gate = linear::Onto::Gate { w: Floats::F32(&[1.0, 0.0]).into(), bias: None };
        let layer = linear::Layer { w: Floats::F32(&[0.0, 1.0]).into(), bias: None, onto: gate, y: &mut y };
        let input = linear::Input { x: &x, tokens, inputs: 2, norm: None };
        linear::cpu(input, Compute::F32, &mut [layer]);
        for (i, y) in y.into_iter().enumerate() {
            let (g, u) = (f64::from(values[i % values.len()]), f64::from(up[i % up.len()]));
            let expected = g / (1.0 + (-g).exp()) * u;
            let close = (f64::from(y) - expected).abs() <= 1e-6 * expected.abs().max(1e-30);
            assert!(close || y.is_nan() && g.is_nan(), "silu({g}) * {u} is {y}");
        }
    }
}

#[test]
fn cross_entropy_agrees_with_f64() {
    let mut random = Random::new(7);
    for (tokens, vocab) in [(1, 1), (9, 77), (3, 32_000)] {
        let mut logits = random.normal(tokens * vocab);
        logits.iter_mut().for_each(|x| *x *= 20.0);
        let targets: Vec<u32> = (0..tokens).map(|_| random.below(vocab) as u32).collect();
        let mut loss = vec![f32::NAN; tokens];
        cross_entropy::cpu(&logits, vocab, &targets, &mut loss);
        let expected = (0..tokens).map(|t| {
            let row = &logits[t * vocab..][..vocab];
            let max = row.iter().fold(f64::MIN, |a, b| a.max(f64::from(*b)));
            let sum: f64 = row.iter().map(|x| (f64::from(*x) - max).exp()).sum();
            sum.ln() + max - f64::from(row[targets[t] as usize])
        });
        assert_close(&loss, expected, 1e-5, "cross_entropy");
    }
}

#[test]
fn cross_entropy_gradient_agrees_with_f64() {
    let mut random = Random::new(17);
    for (tokens, vocab) in [(1, 1), (9, 77), (3, 32_000)] {
        let mut logits = random.normal(tokens * vocab);
        logits.iter_mut().for_each(|x| *x *= 20.0);
        let targets: Vec<u32> = (0..tokens).map(|_| random.below(vocab) as u32).collect();
        let factors = random.normal(tokens);
        let mut out = vec![f32::NAN; tokens * vocab];
        cross_entropy_gradient::cpu(&logits, vocab, &targets, &factors, &mut out);
        let expected = (0..tokens).flat_map(|t| {
            let row = &logits[t * vocab..][..vocab];
            let max = row.iter().fold(f64::MIN, |a, b| a.max(f64::from(*b)));
            let sum: f64 = row.iter().map(|x| (f64::from(*x) - max).exp()).sum();
            let (target, factor) = (targets[t] as usize, f64::from(factors[t]));
            row.iter()
                .enumerate()
                .map(move |(c, x)| {
                    factor * ((f64::from(*x) - max).exp() / sum - f64::from(u8::from(c == target)))
                })
                .collect::<Vec<_>>()
        });
        assert_close(&out, expected, 1e-5, "cross_entropy_gradient");
    }
}

#[test]
fn convert_covers_every_pair_of_types() {
    let mut random = Random::new(8);
    let x = random.normal(40_001);
    let half: Vec<f16> = x.iter().map(|x| f16::from_f32(*x)).collect();
    let brain: Vec<bf16> = x.iter().map(|x| bf16::from_f32(*x)).collect();
    for x in [Floats::F32(&x), Floats::F16(&half), Floats::BF16(&brain)] {
        let wide = floats(x);
        let mut out = vec![f32::NAN; wide.len()];
        convert::cpu(x, FloatsMut::F32(&mut out));
        assert!(out == wide);
        let mut out = vec![f16::NAN; wide.len()];
        convert::cpu(x, FloatsMut::F16(&mut out));
        assert!(out.iter().zip(&wide).all(|(out, x)| *out == f16::from_f32(*x)));
        let mut out = vec![bf16::NAN; wide.len()];
        convert::cpu(x, FloatsMut::BF16(&mut out));
        assert!(out.iter().zip(&wide).all(|(out, x)| *out == bf16::from_f32(*x)));
    }
}

#[test]
fn js_divergence_agrees_with_f64() {
    let mut random = Random::new(9);
    for (tokens, vocab) in [(1, 1), (9, 77), (3, 32_000)] {
        // From nearly equal distributions to those that share almost nothing.
        for scale in [1e-3, 0.3, 20.0] {
            let mut a = random.normal(tokens * vocab);
            a.iter_mut().for_each(|x| *x *= 5.0);
            let b: Vec<f32> =
                a.iter().zip(random.normal(a.len())).map(|(a, noise)| a + noise * scale).collect();
            let mut out = vec![f32::NAN; tokens];
            js_divergence::cpu(&a, &b, vocab, &mut out);
            for (row, &out) in out.iter().enumerate() {
                let row = row * vocab..(row + 1) * vocab;
                let expected = divergence(&a[row.clone()], &b[row]);
                let error = (f64::from(out) - expected).abs();
                assert!(
                    error <= 1e-9 + 1e-4 * expected,
                    "[{tokens}, {vocab}] × {scale}: {out}, not {expected}"
                );
            }
        }
    }
}

fn divergence(a: &[f32], b: &[f32]) -> f64 {
    let distribution = |x: &[f32]| {
        let max = x.iter().fold(f64::MIN, |a, b| a.max(f64::from(*b)));
        let weights: Vec<f64> = x.iter().map(|x| (f64::from(*x) - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|x| x / sum).collect::<Vec<_>>()
    };
    let part = |p: f64, m: f64| if p > 0.0 { 0.5 * p * (p / m).ln() } else { 0.0 };
    let both = distribution(a).into_iter().zip(distribution(b));
    both.map(|(p, q)| part(p, (p + q) / 2.0) + part(q, (p + q) / 2.0)).sum()
}

#[test]
fn js_divergence_at_its_ends() {
    let a = [0.0, -1000.0, 3.0, 3.0, f32::NAN, 0.0];
    let b = [-1000.0, 0.0, 3.0, 3.0, 0.0, 0.0];
    let mut out = [f32::NAN; 3];
    js_divergence::cpu(&a, &b, 2, &mut out);
    assert!((out[0] - std::f32::consts::LN_2).abs() < 1e-6, "nothing in common: {}", out[0]);
    assert_eq!(out[1], 0.0);
    assert!(out[2].is_nan());
}
