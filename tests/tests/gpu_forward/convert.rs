use espalier_host::device::{DType, Device, Op, Tensor};
use espalier_tests::gpu::{TestGpu, narrow, noise};
use half::{bf16, f16};

/// Numbers around every boundary: all 16-bit numbers, those half-way between two, and their neighbours.
fn boundaries() -> Vec<f32> {
    let mut numbers: Vec<f32> = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32()).collect();
    numbers.extend((0..=u16::MAX).map(|bits| bf16::from_bits(bits).to_f32()));
    let halfway_f16 = (0..0x7c00_u16).map(|bits| {
        let (low, high) = (f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32());
        if high.is_finite() { f32::midpoint(low, high) } else { 65_520.0 }
    });
    let halfway_bf16 = (0..0x7f80_u32).map(|bits| f32::from_bits(bits << 16 | 0x8000));
    for middle in halfway_f16.chain(halfway_bf16).collect::<Vec<_>>() {
        numbers.extend([middle, -middle, middle.next_up(), middle.next_down()]);
    }
    numbers.extend([f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)]);
    numbers
}

fn upload(gpu: &TestGpu, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Tensor {
    gpu.upload(dtype, rows, cols, bytes.to_vec().into()).expect("it is uploaded")
}

#[test]
fn rounding_is_exact() {
    let gpu = TestGpu::open(None);
    let numbers = boundaries();
    let x = gpu.f32(1, numbers.len(), &numbers);
    for dtype in [DType::F16, DType::BF16] {
        let mut out = upload(&gpu, dtype, 1, numbers.len(), &vec![0xff; numbers.len() * 2]);
        gpu.execute(Op::Convert { x: &x }, &mut out).expect("it runs");
        let got: Vec<u16> = bytemuck::pod_collect_to_vec(&gpu.read(&out).expect("it is read"));
        for (number, got) in numbers.iter().zip(got) {
            let want = match dtype {
                DType::F16 => f16::from_f32_const(*number).to_bits(),
                _ => bf16::from_f32_const(*number).to_bits(),
            };
            assert_eq!(got, want, "{number:e} ({:#010x}) to {dtype}: {got:#06x}", number.to_bits());
        }
    }
}

#[test]
fn widening_is_exact() {
    let gpu = TestGpu::open(None);
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    for dtype in [DType::F16, DType::BF16] {
        let x = upload(&gpu, dtype, 1, halves.len(), bytemuck::cast_slice(&halves));
        let mut out = gpu.unwritten(1, halves.len());
        gpu.execute(Op::Convert { x: &x }, &mut out).expect("it runs");
        for (&bits, got) in halves.iter().zip(gpu.output(&out)) {
            let want = match dtype {
                DType::F16 => f16::from_bits(bits).to_f32_const(),
                _ => f32::from_bits(u32::from(bits) << 16),
            };
            assert_eq!(got.to_bits(), want.to_bits(), "{dtype} {bits:#06x}");
        }
    }
}

#[test]
fn odd_shapes_between_all_types() {
    let floats = [DType::F32, DType::F16, DType::BF16];
    for limit in [None, Some(48), Some(2000)] {
        let gpu = TestGpu::open(limit);
        for (from, to) in floats.into_iter().flat_map(|from| floats.map(|to| (from, to))) {
            for (rows, cols) in [(1, 1), (1, 3), (17, 5), (31, 12), (200, 7), (3, 2)] {
                let (x, held) = gpu.floats(from, rows, cols, &noise(1, rows * cols));
                let (want, _) = narrow(to, &held);
                let mut out = upload(&gpu, to, rows, cols, &vec![0xff; want.len()]);
                gpu.execute(Op::Convert { x: &x }, &mut out).expect("it runs");
                assert!(gpu.guards_intact(&out).expect("they are read"));
                assert_eq!(gpu.read(&out).expect("it is read"), want, "{rows}x{cols} {from} to {to}");
            }
        }
    }
}

#[test]
fn rows_are_copied_from_anywhere() {
    for limit in [None, Some(48), Some(100)] {
        let gpu = TestGpu::open(limit);
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::U32] {
            for (rows, cols, start, count) in
                [(1, 1, 0, 1), (9, 3, 0, 9), (9, 3, 1, 5), (40, 5, 13, 27), (31, 8, 30, 1), (7, 9, 3, 0)]
            {
                let content: Vec<u8> =
                    (0..rows * cols * dtype.size()).map(|i| (i * 37 % 251) as u8).collect();
                let x = upload(&gpu, dtype, rows, cols, &content);
                let row_bytes = cols * dtype.size();
                let mut out = upload(&gpu, dtype, count, cols, &vec![0xff; count * row_bytes]);
                gpu.execute(Op::CopyRows { x: &x, start }, &mut out).expect("it runs");
                assert!(gpu.guards_intact(&out).expect("they are read"));
                let want = &content[start * row_bytes..(start + count) * row_bytes];
                assert_eq!(gpu.read(&out).expect("it is read"), want, "{rows}x{cols} {dtype} from {start}");
            }
        }
    }
}
