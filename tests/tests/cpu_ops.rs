//! The CPU device's operations through its tensors: every element type, shared and owned memory, and
//! operands that do not fit. The arithmetic of the kernels themselves is tested in `espalier-shaders`.

use bytes::Bytes;
use espalier_host::device::{
    AttentionShape, Axis, Binary, DType, Device, DeviceError, LinearLayer, Onto, Op, OperandError, Reduction,
    Selection, Span, Tensor, Unary, cpu::Cpu,
};
use espalier_tests::{
    random::Random,
    reference::{self, assert_close},
};
use half::{bf16, f16};

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// The little-endian bytes of elements in a type, and their values there.
fn in_type(dtype: DType, x: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let each = |x: &f32| match dtype {
        DType::F16 => (f16::from_f32(*x).to_le_bytes().to_vec(), f16::from_f32(*x).to_f32()),
        DType::BF16 => (bf16::from_f32(*x).to_le_bytes().to_vec(), bf16::from_f32(*x).to_f32()),
        _ => (x.to_le_bytes().to_vec(), *x),
    };
    let (bytes, values): (Vec<_>, Vec<_>) = x.iter().map(each).unzip();
    (bytes.concat(), values)
}

/// The same bytes at an odd address.
fn misaligned(bytes: &[u8]) -> Bytes {
    let shifted = Bytes::from([&[0], bytes].concat()).slice(1..);
    assert!(!shifted.as_ptr().addr().is_multiple_of(2), "allocations start at even addresses");
    shifted
}

fn f32s(device: &dyn Device, rows: usize, cols: usize, x: &[f32]) -> Tensor {
    device.from_f32(rows, cols, x.to_vec()).unwrap()
}

#[test]
fn linear_takes_weights_and_biases_of_every_type() {
    let device: &dyn Device = &Cpu::new();
    let mut random = Random::new(1);
    for (tokens, ins, outs) in [(1, 33, 17), (50, 70, 131)] {
        let (x, w, b) = (random.normal(tokens * ins), random.normal(outs * ins), random.normal(outs));
        for dtype in FLOATS {
            let (bytes, w) = in_type(dtype, &w);
            for bias_dtype in FLOATS {
                let (bias_bytes, bias) = in_type(bias_dtype, &b);
                let x_tensor = f32s(device, tokens, ins, &x);
                let weight = device.upload(dtype, outs, ins, misaligned(&bytes)).unwrap();
                let bias_tensor = device.upload(bias_dtype, 1, outs, bias_bytes.into()).unwrap();
                let mut y = f32s(device, tokens, outs, &vec![f32::NAN; tokens * outs]);
                device.linear(&x_tensor, &weight, Some(&bias_tensor), false, &mut y).unwrap();
                let expected: Vec<f64> = (0..tokens * outs)
                    .map(|i| {
                        let (token, out) = (i / outs, i % outs);
                        let term = |k| f64::from(x[token * ins + k]) * f64::from(w[out * ins + k]);
                        f64::from(bias[out]) + (0..ins).map(term).sum::<f64>()
                    })
                    .collect();
                assert_close(&device.to_f32(&y).unwrap(), &expected, 1e-5, "linear");
            }
        }
    }
}

#[test]
fn the_norm_takes_weights_of_every_type() {
    let device: &dyn Device = &Cpu::new();
    let mut random = Random::new(2);
    let (rows, cols) = (5, 70);
    let (x, w) = (random.normal(rows * cols), random.normal(cols));
    for dtype in FLOATS {
        let (bytes, w) = in_type(dtype, &w);
        let weight = device.upload(dtype, 1, cols, bytes.into()).unwrap();
        let mut y = device.zeros(DType::F32, rows, cols).unwrap();
        device
            .execute(Op::RmsNorm { x: &f32s(device, rows, cols, &x), weight: &weight, eps: 1e-5 }, &mut y)
            .unwrap();
        let expected: Vec<f64> = (0..rows * cols)
            .map(|i| {
                let row = &x[i / cols * cols..][..cols];
                let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / cols as f64;
                f64::from(x[i]) / (mean + f64::from(1e-5f32)).sqrt() * f64::from(w[i % cols])
            })
            .collect();
        assert_close(&device.to_f32(&y).unwrap(), &expected, 1e-6, "rms_norm");
    }
}

#[test]
fn convert_covers_every_pair_of_types() {
    let device: &dyn Device = &Cpu::new();
    let x = Random::new(3).normal(7 * 9);
    for from in FLOATS {
        let (bytes, values) = in_type(from, &x);
        let tensor = device.upload(from, 7, 9, bytes.into()).unwrap();
        for to in FLOATS {
            let mut out = device.zeros(to, 7, 9).unwrap();
            device.execute(Op::Convert { x: &tensor }, &mut out).unwrap();
            assert_eq!(device.read(&out).unwrap(), in_type(to, &values).0, "{from} to {to}");
        }
    }
}

#[test]
fn attention_and_rope_run_on_tensors() {
    let device: &dyn Device = &Cpu::new();
    let mut random = Random::new(4);
    // In a window of one key a query sees only itself, so attention hands the values through.
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 6, scale: 1.0, window: Some(1) };
    let span = Span { query_start: 0, queries: 3, key_start: 1, keys: 3 };
    let (q, v) = (random.normal(3 * 24), random.normal(4 * 12));
    let mut out = device.zeros(DType::F32, 3, 24).unwrap();
    let (q, v_tensor) = (f32s(device, 3, 24, &q), f32s(device, 4, 12, &v));
    device
        .execute(Op::Attention { q: &q, k: &v_tensor, v: &v_tensor, shape, spans: vec![span] }, &mut out)
        .unwrap();
    let expected: Vec<f64> =
        (0..3 * 24).map(|i| f64::from(v[(1 + i / 24) * 12 + i % 24 / 12 * 6 + i % 6])).collect();
    assert_close(&device.to_f32(&out).unwrap(), &expected, 1e-6, "attention");
    let twice = device.execute(
        Op::Attention { q: &q, k: &v_tensor, v: &v_tensor, shape, spans: vec![span, span] },
        &mut out,
    );
    assert!(matches!(twice, Err(DeviceError::Operand { operation: "attention", .. })));

    // A quarter turn swaps the halves of a head.
    let table = f32s(device, 2, 4, &[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    let mut x = f32s(device, 2, 4, &[1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    device
        .execute(
            Op::Rope { table: &table, positions: &device.from_u32(&[0, 1]).unwrap(), head_dim: 4 },
            &mut x,
        )
        .unwrap();
    assert_eq!(device.to_f32(&x).unwrap(), [1.0, 2.0, 3.0, 4.0, -3.0, -4.0, 1.0, 2.0]);
    let beyond = device.execute(
        Op::Rope { table: &table, positions: &device.from_u32(&[0, 2]).unwrap(), head_dim: 4 },
        &mut x,
    );
    assert!(matches!(beyond, Err(DeviceError::Invalid { operation: "rope", .. })));
}

#[test]
fn losses_and_gates_run_on_tensors() {
    let device: &dyn Device = &Cpu::new();
    let logits = f32s(device, 2, 3, &[0.0, 0.0, 0.0, 1000.0, 0.0, -1000.0]);
    let mut loss = device.zeros(DType::F32, 2, 1).unwrap();
    device
        .execute(Op::CrossEntropy { logits: &logits, targets: &device.from_u32(&[2, 0]).unwrap() }, &mut loss)
        .unwrap();
    assert_close(&device.to_f32(&loss).unwrap(), &[3f64.ln(), 0.0], 1e-6, "cross_entropy");
    let outside = device.execute(
        Op::CrossEntropy { logits: &logits, targets: &device.from_u32(&[2, 3]).unwrap() },
        &mut loss,
    );
    assert!(matches!(outside, Err(DeviceError::Invalid { operation: "cross_entropy", .. })));

    // Gates in the first column, what they gate in the second.
    let x = f32s(device, 3, 2, &[0.0, 5.0, 100.0, 2.0, -100.0, 2.0]);
    let (gate, up) = (f32s(device, 1, 2, &[1.0, 0.0]), f32s(device, 1, 2, &[0.0, 1.0]));
    let mut y = device.zeros(DType::F32, 3, 1).unwrap();
    let onto = Onto::Gate { weight: &gate, bias: None };
    device.linears((&x).into(), &mut [LinearLayer { weight: &up, bias: None, onto, y: &mut y }]).unwrap();
    assert_close(&device.to_f32(&y).unwrap(), &[0.0, 200.0, 0.0], 1e-6, "silu(gate) * up");
}

#[test]
fn pruning_operations_agree_with_the_reference() {
    let device: &dyn Device = &Cpu::new();
    let mut random = Random::new(5);
    let (rows, cols) = (9, 96);
    let x: Vec<f32> = random.normal(rows * cols).iter().map(|x| x.abs() + 0.1).collect();
    let b: Vec<f32> = random.normal(rows * cols).iter().map(|x| x.abs() + 0.1).collect();
    let tensor = f32s(device, rows, cols, &x);
    let mut out = device.zeros(DType::F32, rows, cols).unwrap();
    device.execute(Op::Map { x: &tensor, f: Unary::Sqrt, scale: 2.0, shift: -1.0 }, &mut out).unwrap();
    let expected = reference::map(Unary::Sqrt, &x, 2.0, -1.0);
    assert_close(&device.to_f32(&out).unwrap(), &expected, 1e-6, "map");
    for (b_rows, b_cols) in [(rows, cols), (1, cols), (rows, 1), (1, 1)] {
        let b = &b[..b_rows * b_cols];
        let b_tensor = f32s(device, b_rows, b_cols, b);
        device
            .execute(
                Op::Zip { a: &tensor, b: &b_tensor, f: Unary::Abs, op: Binary::Divide, alpha: 0.5 },
                &mut out,
            )
            .unwrap();
        let expected = reference::zip(Unary::Abs, &x, cols, Binary::Divide, 0.5, b, (b_rows, b_cols));
        assert_close(&device.to_f32(&out).unwrap(), &expected, 1e-6, "zip");
    }
    for (axis, shape) in [(Axis::EachRow, (rows, 1)), (Axis::EachColumn, (1, cols))] {
        let mut out = device.zeros(DType::F32, shape.0, shape.1).unwrap();
        device
            .execute(Op::Reduce { x: &tensor, f: Reduction::SumSquares, axis, accumulate: true }, &mut out)
            .unwrap();
        let expected = reference::reduce(Reduction::SumSquares, axis, &x, cols, None);
        assert_close(&device.to_f32(&out).unwrap(), &expected, 1e-6, "reduce");
    }
    let scores = random.scores(rows * cols);
    let scores_tensor = f32s(device, rows, cols, &scores);
    for selection in [
        Selection::EachRow { count: 0 },
        Selection::EachRow { count: 41 },
        Selection::EachRow { count: cols },
        Selection::Groups { n: 2, m: 4 },
        Selection::Groups { n: 5, m: 12 },
        Selection::RowMass { share: 0.3 },
    ] {
        let mut mask = device.zeros(DType::U32, rows, cols.div_ceil(32)).unwrap();
        device.execute(Op::Select { scores: (&scores_tensor).into(), selection }, &mut mask).unwrap();
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&device.read(&mask).unwrap());
        assert_eq!(words, reference::select(&scores, cols, selection), "{selection:?}");
        let mut pruned = f32s(device, rows, cols, &x);
        device.execute(Op::ZeroWhere { mask: &mask }, &mut pruned).unwrap();
        for (i, pruned) in device.to_f32(&pruned).unwrap().iter().enumerate() {
            let set = (words[i / cols * cols.div_ceil(32) + i % cols / 32] >> (i % cols % 32)) & 1 == 1;
            assert_eq!(pruned.to_bits(), if set { 0 } else { x[i].to_bits() });
        }
    }
}

#[test]
fn shared_bytes_are_copied_before_they_are_written_to() {
    let device: &dyn Device = &Cpu::new();
    let bytes = Bytes::from_owner([1.0f32, 2.0, 3.0].map(f32::to_le_bytes).concat());
    let mut x = device.upload(DType::F32, 1, 3, bytes.clone()).unwrap();
    let mask = device.upload(DType::U32, 1, 1, Bytes::from_owner(2u32.to_le_bytes())).unwrap();
    device.execute(Op::ZeroWhere { mask: &mask }, &mut x).unwrap();
    assert_eq!(device.to_f32(&x).unwrap(), [1.0, 0.0, 3.0]);
    assert_eq!(bytes[4..8], 2f32.to_le_bytes());
}

#[test]
fn only_owned_memory_counts() {
    let device = Cpu::new();
    let bytes = Bytes::from(vec![0; 4100]);
    let start = bytes.as_ptr().addr().wrapping_neg() % 4;
    drop(device.upload(DType::F32, 32, 32, bytes.slice(start..start + 4096)).unwrap());
    assert_eq!(device.peak_bytes(), 0);
    for _ in 0..3 {
        drop(device.zeros(DType::F32, 100, 100).unwrap());
    }
    assert_eq!(device.peak_bytes(), 40_000);
    let _two = (device.zeros(DType::BF16, 100, 101).unwrap(), device.zeros(DType::F32, 100, 100).unwrap());
    assert_eq!(device.peak_bytes(), 60_200);
}

#[test]
fn rows_are_copied_in_every_type() {
    let device: &dyn Device = &Cpu::new();
    for dtype in FLOATS {
        let (bytes, _) = in_type(dtype, &Random::new(6).normal(6 * 3));
        let x = device.upload(dtype, 6, 3, bytes.clone().into()).unwrap();
        let mut out = device.zeros(dtype, 2, 3).unwrap();
        device.execute(Op::CopyRows { x: &x, start: 3 }, &mut out).unwrap();
        let row = 3 * dtype.size();
        assert_eq!(device.read(&out).unwrap(), bytes[3 * row..5 * row]);
        assert!(device.execute(Op::CopyRows { x: &x, start: 5 }, &mut out).is_err());
    }
}

#[test]
fn operands_that_do_not_fit_are_named() {
    let device: &dyn Device = &Cpu::new();
    let zeros = |dtype, rows, cols| device.zeros(dtype, rows, cols).unwrap();
    let (x, w) = (zeros(DType::F32, 2, 3), zeros(DType::F32, 4, 5));
    let error = device.linear(&x, &w, None, false, &mut zeros(DType::F32, 2, 4)).unwrap_err();
    assert_eq!(error.to_string(), "linear: a tensor of shape [4, 3] is needed, but this one is [4, 5]");
    let error = device.execute(
        Op::Map { x: &zeros(DType::BF16, 2, 3), f: Unary::Abs, scale: 1.0, shift: 0.0 },
        &mut zeros(DType::F32, 2, 3),
    );
    assert!(matches!(
        error,
        Err(DeviceError::Operand { operation: "map", reason: OperandError::Type { found: DType::BF16, .. } })
    ));
    let mut mask = zeros(DType::U32, 2, 1);
    for selection in [
        Selection::EachRow { count: 4 },
        Selection::Groups { n: 1, m: 2 },
        Selection::Groups { n: 4, m: 3 },
        Selection::Groups { n: 0, m: 0 },
        Selection::RowMass { share: f32::NAN },
    ] {
        let error = device.execute(Op::Select { scores: (&x).into(), selection }, &mut mask);
        assert!(matches!(error, Err(DeviceError::Operand { operation: "select", .. })), "{selection:?}");
    }
    let error = device.upload(DType::F32, 2, 3, Bytes::from_static(&[0; 23])).unwrap_err();
    assert_eq!(error.to_string(), "upload: a f32 tensor [2, 3] has 24 bytes, but there are 23");
    assert!(device.zeros(DType::F32, usize::MAX, 3).is_err());
}
