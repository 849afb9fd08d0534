use crate::close;
use espalier_host::device::{Compute, DType, Device, Input, LinearLayer, Norm, Onto, Op, Tensor};
use espalier_shaders::{Floats, linear};
use espalier_tests::gpu::{TestGpu, noise};
use std::collections::BTreeSet;

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

struct Case {
    tokens: usize,
    outs: usize,
    ins: usize,
    dtype: DType,
    bias: Option<DType>,
    accumulate: bool,
}

fn check(gpu: &TestGpu, case: &Case) {
    let &Case { tokens, outs, ins, dtype, bias, accumulate } = case;
    let mut x = noise(1, tokens * ins);
    let (w_tensor, mut w) = gpu.floats(dtype, outs, ins, &noise(2, outs * ins));
    let bias = bias.map(|dtype| gpu.floats(dtype, 1, outs, &noise(3, outs)));
    let before = noise(4, tokens * outs);
    let x_tensor = gpu.f32(tokens, ins, &x);
    let compute = gpu.info().compute;
    compute.round(&mut x);
    compute.round(&mut w);
    let mut y: Tensor = if accumulate { gpu.f32(tokens, outs, &before) } else { gpu.unwritten(tokens, outs) };
    let bias_tensor = bias.as_ref().map(|(tensor, _)| tensor);
    gpu.linear(&x_tensor, &w_tensor, bias_tensor, accumulate, &mut y).expect("it runs");
    let got = gpu.output(&y);
    for t in 0..tokens {
        for n in 0..outs {
            let products = (0..ins).map(|k| f64::from(x[t * ins + k]) * f64::from(w[n * ins + k]));
            let (mut want, mut size) =
                products.fold((0.0, 1e-30), |(sum, size), p| (sum + p, size + p.abs()));
            if let Some((_, bias)) = &bias {
                want += f64::from(bias[n]);
                size += f64::from(bias[n]).abs();
            }
            if accumulate {
                want += f64::from(before[t * outs + n]);
                size += f64::from(before[t * outs + n]).abs();
            }
            close(got[t * outs + n], want, 1e-6 * size, || {
                format!(
                    "[{t}, {n}] of {tokens}x{outs}x{ins} {dtype} in {compute}, bias {}, accumulate {accumulate}",
                    bias.is_some()
                )
            });
        }
    }
}

#[test]
fn odd_shapes_in_every_weight_type() {
    let gpu = TestGpu::open(None);
    let shapes = [
        [1, 1, 1],
        [1, 3, 2],
        [3, 17, 31],
        [17, 31, 4],
        [2, 200, 64],
        [16, 129, 12],
        [31, 64, 65],
        [64, 65, 20],
        [65, 1, 127],
        [127, 127, 36],
        [130, 200, 17],
        [200, 130, 100],
        [129, 257, 6],
    ];
    for [tokens, outs, ins] in shapes {
        for dtype in FLOATS {
            check(&gpu, &Case { tokens, outs, ins, dtype, bias: None, accumulate: false });
        }
    }
}

#[test]
fn operands_are_rounded_to_the_type_to_compute_in() {
    for compute in [Compute::F16, Compute::BF16] {
        let gpu = TestGpu::computing(compute);
        for dtype in FLOATS {
            let [tokens, outs, ins] = if dtype == DType::F32 { [130, 140, 17] } else { [70, 31, 16] };
            check(&gpu, &Case { tokens, outs, ins, dtype, bias: None, accumulate: false });
        }
    }
    // Overflow, subnormal numbers, ties, and NaN.
    let gpu = TestGpu::computing(Compute::F16);
    let values = [65_519.0, 65_520.0, -1e30, 6e-8, 2.9e-8, 1.000_488_3, 1.001_464_9, f32::NAN, -0.0, 5.96e-5];
    let x = gpu.f32(values.len(), 1, &values);
    let one = gpu.f32(1, 1, &[1.0]);
    let mut y = gpu.unwritten(values.len(), 1);
    gpu.linear(&x, &one, None, false, &mut y).expect("it runs");
    let mut want = values;
    Compute::F16.round(&mut want);
    for ((got, want), x) in gpu.output(&y).into_iter().zip(want).zip(values) {
        assert!(got == want || got.is_nan() && want.is_nan(), "{x:e}: {got:e}, not {want:e}");
    }
}

#[test]
fn few_tokens_take_subgroups_where_there_are_some() {
    for compute in [Compute::F32, Compute::F16] {
        let gpu = TestGpu::computing(compute);
        let tokens: &[usize] = if compute == Compute::F32 { &[1, 2, 3, 5, 8] } else { &[1, 8] };
        for &tokens in tokens {
            for [outs, ins] in [[1, 1], [37, 131], [130, 260], [3000, 7], [8200, 12]] {
                let dtype = FLOATS[(tokens + ins) % 3];
                check(
                    &gpu,
                    &Case { tokens, outs, ins, dtype, bias: Some(DType::F16), accumulate: tokens == 3 },
                );
            }
        }
        let kernels: BTreeSet<_> = gpu
            .tuned()
            .into_iter()
            .map(|(_, variant)| variant.split(' ').next().map(str::to_owned))
            .collect();
        let few = if TestGpu::report().features.subgroups { "linear_few" } else { "linear" };
        assert_eq!(kernels, BTreeSet::from([Some(few.to_owned())]));
    }
}

#[test]
fn few_tokens_agree_with_the_cpu() {
    let gpu = TestGpu::open(None);
    let (tokens, outs, ins) = (7, 301, 1028);
    let x = noise(1, tokens * ins);
    let (w_tensor, w) = gpu.floats(DType::BF16, outs, ins, &noise(2, outs * ins));
    let mut y = gpu.unwritten(tokens, outs);
    gpu.linear(&gpu.f32(tokens, ins, &x), &w_tensor, None, false, &mut y).expect("it runs");
    let mut want = vec![0.0; tokens * outs];
    let input = linear::Input { x: &x, tokens, inputs: ins, norm: None };
    let layer =
        linear::Layer { w: Floats::F32(&w).into(), bias: None, onto: linear::Onto::Nothing, y: &mut want };
    linear::cpu(input, Compute::F32, &mut [layer]);
    for (at, (got, want)) in gpu.output(&y).into_iter().zip(want).enumerate() {
        close(got, want.into(), 1e-3, || format!("element {at}"));
    }
}

#[test]
fn bias_of_every_type_and_accumulation() {
    let gpu = TestGpu::open(None);
    for bias in [None, Some(DType::F32), Some(DType::F16), Some(DType::BF16)] {
        for accumulate in [false, true] {
            for [tokens, outs, ins] in [[5, 33, 7], [70, 31, 16], [9, 130, 8]] {
                check(&gpu, &Case { tokens, outs, ins, dtype: DType::BF16, bias, accumulate });
            }
        }
    }
}

#[test]
fn tensors_of_many_panels() {
    // At most ten rows of the weight and of x in a panel, and rows of y of 201 elements.
    for limit in [1024, 1328] {
        let gpu = TestGpu::open(Some(limit));
        for dtype in FLOATS {
            for [tokens, outs, ins] in [[75, 201, 25], [20, 90, 28], [200, 3, 64]] {
                check(&gpu, &Case { tokens, outs, ins, dtype, bias: Some(dtype), accumulate: true });
            }
        }
    }
}

#[test]
fn a_long_dot_product() {
    let gpu = TestGpu::open(None);
    for dtype in FLOATS {
        check(&gpu, &Case { tokens: 3, outs: 5, ins: 11008, dtype, bias: None, accumulate: false });
    }
}

#[test]
fn every_f16_and_bf16_number_is_widened_exactly() {
    let gpu = TestGpu::open(None);
    for dtype in [DType::F16, DType::BF16] {
        // All but infinities and NaN, and for bf16 the subnormals that devices may flush, as a column of
        // weights in odd and in aligned rows.
        let halves: Vec<u16> = (0..=u16::MAX)
            .filter(|&bits| match dtype {
                DType::F16 => half::f16::from_bits(bits).is_finite(),
                _ => half::bf16::from_bits(bits).is_finite() && bits & 0x7f80 != 0,
            })
            .collect();
        let widen = |bits| match dtype {
            DType::F16 => half::f16::from_bits(bits).to_f32(),
            _ => half::bf16::from_bits(bits).to_f32(),
        };
        for ins in [1, 4] {
            let mut weights = vec![0_u16; halves.len() * ins];
            halves
                .iter()
                .zip(weights.chunks_mut(ins))
                .enumerate()
                .for_each(|(i, (&h, row))| row[i % ins] = h);
            let w = gpu.upload(dtype, halves.len(), ins, bytemuck::cast_slice(&weights).to_vec().into());
            let x = gpu.f32(1, ins, &vec![1.0; ins]);
            let mut y = gpu.unwritten(1, halves.len());
            gpu.linear(&x, &w.expect("uploaded"), None, false, &mut y).expect("it runs");
            for (&bits, got) in halves.iter().zip(gpu.output(&y)) {
                assert_eq!(got, widen(bits), "{dtype} {bits:#06x}");
            }
        }
    }
}

#[test]
fn not_a_number_stays_visible() {
    let gpu = TestGpu::open(None);
    let mut x = vec![1.0; 3 * 8];
    x[8 + 3] = f32::NAN;
    let w = gpu.f32(5, 8, &[0.5; 40]);
    let mut y = gpu.f32(3, 5, &[0.0; 15]);
    gpu.linear(&gpu.f32(3, 8, &x), &w, None, false, &mut y).expect("it runs");
    let rows: Vec<_> = gpu.output(&y).chunks(5).map(|row| row.iter().all(|x| x.is_nan())).collect();
    assert_eq!(rows, [false, true, false]);
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let gpu = TestGpu::open(None);
    let (x, w) = (gpu.unwritten(2, 8), gpu.unwritten(3, 7));
    let error = gpu.linear(&x, &w, None, false, &mut gpu.unwritten(2, 3)).expect_err("7 is not 8");
    assert_eq!(error.to_string(), "linear: a tensor of shape [3, 8] is needed, but this one is [3, 7]");
    let words = gpu.zeros(DType::U32, 3, 8).expect("it is made");
    let error = gpu.linear(&x, &words, None, false, &mut gpu.unwritten(2, 3)).expect_err("no floats");
    assert_eq!(error.to_string(), "linear: a tensor of f32 or f16 or bf16 is needed, but this one is u32");
}

/// A norm on the way and a gate change nothing of what their parts make one after the other.
#[test]
fn norms_and_gates_are_part_of_a_product() {
    for limit in [None, Some(4096)] {
        let gpu = TestGpu::open(limit);
        let shapes = [(3, 17, 31), (70, 33, 64), (130, 129, 100)];
        for (tokens, outs, ins) in shapes.into_iter().skip(usize::from(limit.is_some())) {
            let x = gpu.f32(tokens, ins, &noise(1, tokens * ins));
            let (norm_weight, _) = gpu.floats(DType::BF16, 1, ins, &noise(2, ins));
            let (up, _) = gpu.floats(DType::F16, outs, ins, &noise(3, outs * ins));
            let (gate, _) = gpu.floats(DType::BF16, outs, ins, &noise(4, outs * ins));
            let (bias, _) = gpu.floats(DType::F32, 1, outs, &noise(5, outs));
            let mut normed = gpu.unwritten(tokens, ins);
            gpu.execute(Op::RmsNorm { x: &x, weight: &norm_weight, eps: 1e-5 }, &mut normed)
                .expect("it runs");
            let alone = |weight, bias| {
                let mut y = gpu.unwritten(tokens, outs);
                gpu.linear(&normed, weight, bias, false, &mut y).expect("it runs");
                gpu.output(&y)
            };
            let (ups, gates) = (alone(&up, Some(&bias)), alone(&gate, Some(&bias)));
            let (mut plain, mut gated) = (gpu.unwritten(tokens, outs), gpu.unwritten(tokens, outs));
            let input = Input { x: &x, norm: Some(Norm { weight: &norm_weight, eps: 1e-5 }) };
            let onto = Onto::Gate { weight: &gate, bias: Some(&bias) };
            let layers = [(Onto::Nothing, &mut plain), (onto, &mut gated)];
            let mut layers = layers.map(|(onto, y)| LinearLayer { weight: &up, bias: Some(&bias), onto, y });
            gpu.linears(input, &mut layers).expect("it runs");
            assert!(gpu.output(&plain) == ups, "{tokens}x{ins}x{outs}");
            for (i, got) in gpu.output(&gated).into_iter().enumerate() {
                let (gate, up) = (f64::from(gates[i]), f64::from(ups[i]));
                let want = gate / (1.0 + (-gate).exp()) * up;
                close(got, want, 1e-5 * want.abs() + 1e-30, || format!("silu({gate}) * {up}"));
            }
        }
        let x = gpu.f32(2, 3, &[1.0; 6]);
        let short = gpu.f32(1, 2, &[1.0; 2]);
        let input = Input { x: &x, norm: Some(Norm { weight: &short, eps: 1e-5 }) };
        let error = gpu.linears(input, &mut []).expect_err("2 is not 3").to_string();
        assert_eq!(error, "linear: a tensor of shape [1, 3] is needed, but this one is [1, 2]");
    }
}

/// Gates whose exponential leaves f32's range, and NaN.
#[test]
fn gates_of_every_size() {
    let gpu = TestGpu::open(None);
    let values = [-90.0, 90.0, -1e30, 1e30, 0.0, -0.0, 1e-30, 88.8, -88.8, f32::NAN];
    let up = noise(1, values.len());
    let x: Vec<f32> = values.iter().zip(&up).flat_map(|(gate, up)| [*gate, *up]).collect();
    let (gate, one) = (gpu.f32(1, 2, &[1.0, 0.0]), gpu.f32(1, 2, &[0.0, 1.0]));
    let mut y = gpu.unwritten(values.len(), 1);
    let onto = Onto::Gate { weight: &gate, bias: None };
    let layer = LinearLayer { weight: &one, bias: None, onto, y: &mut y };
    gpu.linears((&gpu.f32(values.len(), 2, &x)).into(), &mut [layer]).expect("it runs");
    for (i, got) in gpu.output(&y).into_iter().enumerate() {
        let (gate, up) = (f64::from(values[i]), f64::from(up[i]));
        if gate.is_nan() {
            assert!(got.is_nan(), "{got}");
            continue;
        }
        let want = gate / (1.0 + (-gate).exp()) * up;
        close(got, want, 1e-5 * want.abs() + 1e-30, || format!("silu({gate}) * {up}"));
    }
}
