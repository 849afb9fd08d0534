use crate::{PANEL_LIMITS, close};
use espalier_host::device::{DType, Device, Op};
use espalier_shaders::cross_entropy_gradient;
use espalier_tests::gpu::{TestGpu, noise};

#[test]
fn rms_norm_of_odd_rows() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        for (rows, cols) in [(1, 1), (3, 17), (2, 31), (31, 64), (65, 200), (5, 1000), (9, 1023), (2, 257)] {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                let x = noise(1, rows * cols);
                let (weight, w) = gpu.floats(dtype, 1, cols, &noise(2, cols));
                let mut y = gpu.unwritten(rows, cols);
                gpu.execute(Op::RmsNorm { x: &gpu.f32(rows, cols, &x), weight: &weight, eps: 1e-5 }, &mut y)
                    .expect("it runs");
                let got = gpu.output(&y);
                for (r, row) in x.chunks(cols).enumerate() {
                    let squares: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                    let scale = 1.0 / (squares / cols as f64 + f64::from(1e-5_f32)).sqrt();
                    for (c, &x) in row.iter().enumerate() {
                        let want = f64::from(x) * scale * f64::from(w[c]);
                        close(got[r * cols + c], want, 2e-6 * want.abs() + 1e-30, || {
                            format!("[{r}, {c}] of {rows}x{cols} {dtype}")
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn cross_entropy_of_odd_vocabularies() {
    for limit in [None, Some(2400)] {
        let gpu = TestGpu::open(limit);
        for (rows, vocab) in [(1, 1), (3, 17), (31, 64), (65, 127), (4, 300), (130, 512), (2, 600)] {
            let logits: Vec<f32> = noise(1, rows * vocab).iter().map(|x| 30.0 * x).collect();
            let targets: Vec<u32> = (0..rows).map(|row| (row * 7 % vocab) as u32).collect();
            let targets_tensor = (&*gpu as &dyn Device).from_u32(&targets).expect("it is uploaded");
            let mut loss = gpu.unwritten(rows, 1);
            gpu.execute(
                Op::CrossEntropy { logits: &gpu.f32(rows, vocab, &logits), targets: &targets_tensor },
                &mut loss,
            )
            .expect("it runs");
            for (row, got) in gpu.output(&loss).into_iter().enumerate() {
                let logits = &logits[row * vocab..(row + 1) * vocab];
                let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = logits.iter().map(|&x| f64::from(x - highest).exp()).sum();
                let want = sum.ln() + f64::from(highest) - f64::from(logits[targets[row] as usize]);
                close(got, want, 1e-5 + 1e-6 * want, || format!("row {row} of {rows}x{vocab}"));
            }
        }
    }
}

#[test]
fn cross_entropy_gradients_of_odd_vocabularies() {
    for limit in [None, Some(2400)] {
        let gpu = TestGpu::open(limit);
        for (rows, vocab) in [(1, 1), (3, 17), (31, 64), (65, 127), (4, 300), (130, 512), (2, 600)] {
            let logits: Vec<f32> = noise(1, rows * vocab).iter().map(|x| 30.0 * x).collect();
            let targets: Vec<u32> = (0..rows).map(|row| (row * 7 % vocab) as u32).collect();
            let factors = noise(2, rows);
            let targets_tensor = (&*gpu as &dyn Device).from_u32(&targets).expect("it is uploaded");
            let mut out = gpu.unwritten(rows, vocab);
            let op = Op::CrossEntropyGradient {
                logits: &gpu.f32(rows, vocab, &logits),
                targets: &targets_tensor,
                factors: &gpu.f32(rows, 1, &factors),
            };
            gpu.execute(op, &mut out).expect("it runs");
            let mut expected = vec![0.0; rows * vocab];
            cross_entropy_gradient::cpu(&logits, vocab, &targets, &factors, &mut expected);
            for (at, (got, want)) in gpu.output(&out).into_iter().zip(expected).enumerate() {
                close(got, f64::from(want), 2e-6, || format!("element {at} of {rows}x{vocab}"));
            }
        }
    }
}

#[test]
fn cross_entropy_of_a_large_vocabulary() {
    let gpu = TestGpu::open(None);
    let (rows, vocab) = (3, 128_256);
    let logits = noise(1, rows * vocab);
    let targets = (&*gpu as &dyn Device).from_u32(&[0, 77_777, 128_255]).expect("it is uploaded");
    let mut loss = gpu.unwritten(rows, 1);
    gpu.execute(Op::CrossEntropy { logits: &gpu.f32(rows, vocab, &logits), targets: &targets }, &mut loss)
        .expect("it runs");
    for (row, (got, target)) in gpu.output(&loss).into_iter().zip([0, 77_777, 128_255]).enumerate() {
        let logits = &logits[row * vocab..(row + 1) * vocab];
        let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        close(got, sum.ln() - f64::from(logits[target]), 1e-5, || format!("row {row}"));
    }
}

#[test]
fn cross_entropy_of_extreme_logits() {
    let gpu = TestGpu::open(None);
    let logits = [[1e30, -1e30, 0.0], [f32::NEG_INFINITY, 0.0, 0.0], [f32::NAN, 0.0, 0.0], [0.0, 0.0, 0.0]];
    let targets = (&*gpu as &dyn Device).from_u32(&[0, 1, 1, 3]).expect("it is uploaded");
    let mut loss = gpu.unwritten(4, 1);
    gpu.execute(
        Op::CrossEntropy { logits: &gpu.f32(4, 3, logits.as_flattened()), targets: &targets },
        &mut loss,
    )
    .expect("it runs");
    let got = gpu.output(&loss);
    assert_eq!(got[0], 0.0);
    close(got[1], 2.0_f64.ln(), 1e-6, || "two equal logits".to_owned());
    assert!(got[2].is_nan(), "a logit that is no number: {}", got[2]);
    assert!(got[3].is_nan(), "a target that there is not: {}", got[3]);
}

#[test]
fn rope_turns_pairs() {
    // 48-byte rows of the table in the second case: it has many panels too.
    for limit in [None, Some(600)] {
        let gpu = TestGpu::open(limit);
        for (tokens, heads, head_dim) in [(1, 1, 2), (3, 5, 12), (31, 2, 64), (65, 3, 10), (200, 1, 6)] {
            let positions: Vec<u32> = (0..tokens).map(|token| (token * 13 % 50) as u32).collect();
            let angle = |position: usize, i: usize| {
                position as f64 / 1000.0_f64.powf(2.0 * i as f64 / head_dim as f64)
            };
            let table: Vec<f32> = (0..50 * head_dim)
                .map(|at| {
                    let (position, column, half) = (at / head_dim, at % head_dim, head_dim / 2);
                    let angle = angle(position, column % half);
                    (if column < half { angle.cos() } else { angle.sin() }) as f32
                })
                .collect();
            let x = noise(1, tokens * heads * head_dim);
            let mut x_tensor = gpu.f32(tokens, heads * head_dim, &x);
            let positions_tensor = (&*gpu as &dyn Device).from_u32(&positions).expect("it is uploaded");
            let table = gpu.f32(50, head_dim, &table);
            gpu.execute(Op::Rope { table: &table, positions: &positions_tensor, head_dim }, &mut x_tensor)
                .expect("it runs");
            for (at, got) in gpu.output(&x_tensor).into_iter().enumerate() {
                let (token, column, half) = (at / (heads * head_dim), at % head_dim, head_dim / 2);
                let (sin, cos) = angle(positions[token] as usize, column % half).sin_cos();
                let want = if column < half {
                    f64::from(x[at]) * cos - f64::from(x[at + half]) * sin
                } else {
                    f64::from(x[at]) * cos + f64::from(x[at - half]) * sin
                };
                close(got, want, 1e-6, || format!("element {at} of {tokens}x{heads}x{head_dim}"));
            }
        }
    }
}

#[test]
fn js_divergence_of_odd_vocabularies() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        for (rows, vocab) in [(1, 1), (3, 17), (65, 200), (9, 1023)] {
            for scale in [1e-2, 1.0, 30.0] {
                let a: Vec<f32> = noise(1, rows * vocab).iter().map(|x| 10.0 * x).collect();
                let b: Vec<f32> =
                    a.iter().zip(noise(2, a.len())).map(|(a, noise)| a + scale * noise).collect();
                let mut out = gpu.unwritten(rows, 1);
                gpu.execute(
                    Op::JsDivergence { a: &gpu.f32(rows, vocab, &a), b: &gpu.f32(rows, vocab, &b) },
                    &mut out,
                )
                .expect("it runs");
                for (r, got) in gpu.output(&out).into_iter().enumerate() {
                    let row = r * vocab..(r + 1) * vocab;
                    let want = js_divergence(&a[row.clone()], &b[row]);
                    close(got, want, 1e-8 + 1e-4 * want, || format!("row {r} of {rows}x{vocab} by {scale}"));
                }
            }
        }
    }
}

fn js_divergence(a: &[f32], b: &[f32]) -> f64 {
    let distribution = |x: &[f32]| {
        let weights: Vec<f64> = x.iter().map(|&x| f64::from(x).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|x| x / sum).collect::<Vec<_>>()
    };
    let both = distribution(a).into_iter().zip(distribution(b));
    both.map(|(p, q)| 0.5 * (p * (2.0 * p / (p + q)).ln() + q * (2.0 * q / (p + q)).ln())).sum()
}

#[test]
fn js_divergence_at_its_ends() {
    let gpu = TestGpu::open(None);
    let a = gpu.f32(3, 2, &[0.0, -1000.0, 3.0, 3.0, f32::NAN, 0.0]);
    let b = gpu.f32(3, 2, &[-1000.0, 0.0, 3.0, 3.0, 0.0, 0.0]);
    let mut out = gpu.unwritten(3, 1);
    gpu.execute(Op::JsDivergence { a: &a, b: &b }, &mut out).expect("it runs");
    let got = gpu.output(&out);
    close(got[0], 2.0_f64.ln(), 1e-6, || "nothing in common".to_owned());
    assert_eq!(got[1], 0.0);
    assert!(got[2].is_nan(), "a logit that is no number: {}", got[2]);
}

#[test]
fn rows_are_scattered() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        for (rows, cols, places) in [(1, 1, 1), (3, 17, 5), (65, 33, 200), (70, 1000, 70)] {
            let x = noise(1, rows * cols);
            // No number of places is a multiple of 3, so no two rows go to one place.
            let to: Vec<u32> = (0..rows).map(|row| ((row * 3 + 1) % places) as u32).collect();
            let mut expected = vec![-1.0; places * cols];
            for (row, &place) in to.iter().enumerate() {
                expected[place as usize * cols..][..cols].copy_from_slice(&x[row * cols..][..cols]);
            }
            let mut out = gpu.f32(places, cols, &vec![-1.0; places * cols]);
            let to = (&*gpu as &dyn Device).from_u32(&to).expect("it is uploaded");
            gpu.execute(Op::ScatterRows { x: &gpu.f32(rows, cols, &x), places: &to }, &mut out)
                .expect("it runs");
            assert_eq!(gpu.output(&out), expected, "{rows}x{cols} to {places}");
        }
    }
}
