//! Weights whose zeros are left out: the same bits as with zeros, by the kernel for few tokens and by putting zeros in for many.

use espalier_host::device::{Compute, DType, Device, Input, LinearLayer, Onto, PackedMatrix, Tensor};
use espalier_tests::gpu::{TestGpu, narrow, noise};

/// Bytes of weights: some rows have no zero, some nothing else, and one zero is negative.
fn weights(dtype: DType, rows: usize, cols: usize) -> Vec<u8> {
    let mut x = noise(2, rows * cols);
    let zeros = noise(7, rows * cols);
    for (at, x) in x.iter_mut().enumerate() {
        *x = match at / cols % 5 {
            1 => 0.0,
            2 => *x,
            _ if zeros[at] < 0.2 => 0.0,
            _ => *x,
        };
    }
    x[rows * cols - 1] = -0.0;
    narrow(dtype, &x).0
}

/// Both forms of the same weights on the device.
fn both(gpu: &TestGpu, dtype: DType, rows: usize, cols: usize) -> [Tensor; 2] {
    let bytes = weights(dtype, rows, cols);
    let packed = gpu.upload_packed(PackedMatrix::pack(dtype, cols, &bytes)).expect("uploaded");
    assert!(gpu.read(&packed).expect("read") == bytes, "{rows}x{cols} {dtype}");
    [gpu.upload(dtype, rows, cols, bytes.into()).expect("uploaded"), packed]
}

/// What a gated layer with a bias makes of some rows, as bits.
fn product(gpu: &TestGpu, w: &Tensor, gate: &Tensor, tokens: usize) -> Vec<u32> {
    let (outs, ins) = (w.rows(), w.cols());
    let x = gpu.f32(tokens, ins, &noise(1, tokens * ins));
    let (bias, _) = gpu.floats(DType::F16, 1, outs, &noise(3, outs));
    let mut y = gpu.unwritten(tokens, outs);
    let onto = Onto::Gate { weight: gate, bias: None };
    let layer = LinearLayer { weight: w, bias: Some(&bias), onto, y: &mut y };
    gpu.linears(Input::from(&x), &mut [layer]).expect("it runs");
    gpu.linear(&x, w, None, true, &mut y).expect("it runs");
    for w in [w, gate] {
        assert!(gpu.guards_intact(w).expect("read"), "a kernel wrote past the weights");
    }
    gpu.output(&y).into_iter().map(f32::to_bits).collect()
}

#[test]
fn products_are_those_of_the_dense_matrix() {
    let shapes = [[3, 2], [17, 31], [37, 131], [130, 260]];
    for (limit, compute) in [(None, Compute::F32), (None, Compute::BF16), (Some(4096), Compute::F32)] {
        let gpu = match limit {
            None => TestGpu::computing(compute),
            limit => TestGpu::open(limit),
        };
        for (number, [outs, ins]) in shapes.into_iter().enumerate() {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                if limit.is_some_and(|limit| 16 + ins as u64 * dtype.size() as u64 > limit) {
                    continue;
                }
                let [dense, packed] = both(&gpu, dtype, outs, ins);
                // Few tokens and many, each of some.
                for tokens in [[1, 8], [2, 9], [3, 20], [5, 1]][number] {
                    let (want, got) =
                        (product(&gpu, &dense, &dense, tokens), product(&gpu, &packed, &packed, tokens));
                    assert!(
                        want == got,
                        "{tokens} of {outs}x{ins} {dtype} in {compute}, panels of {limit:?}"
                    );
                }
            }
        }
        let agreed = gpu.agreed();
        let packed = agreed.iter().filter(|(kernel, _)| kernel.starts_with("linear_packed"));
        let expected = TestGpu::report().features.subgroups;
        assert_eq!(packed.clone().count() > 0, expected, "{agreed:?}");
        assert!(packed.clone().all(|(_, agrees)| *agrees), "{agreed:?}");
    }
}

#[test]
fn other_operations_refuse_them() {
    let gpu = TestGpu::open(None);
    let [_, packed] = both(&gpu, DType::F32, 3, 8);
    let op = espalier_host::device::Op::Convert { x: &packed };
    let error = gpu.execute(op, &mut gpu.unwritten(3, 8)).expect_err("it is no plain matrix");
    assert!(error.to_string().contains("zeros are left out"), "{error}");
    let mut parts = PackedMatrix::pack(DType::F32, 8, &weights(DType::F32, 3, 8));
    parts.offsets[1] += 1;
    assert!(gpu.upload_packed(parts).is_err());
}
