//! The kernels of statistics and pruning on a GPU, against their CPU twins and plain references: odd
//! shapes, ties, tensors of several panels, outputs and guard words that hold NaN before.

use espalier_host::device::{Axis, Binary, DType, Device, Op, Reduction, Selection, Tensor, Unary, cpu::Cpu};
use espalier_tests::{
    gpu::TestGpu,
    random::Random,
    reference::{self, assert_close},
};

/// No limit, and one that cuts matrices into many panels, masks and columns elsewhere than matrices.
const PANEL_LIMITS: [Option<u64>; 2] = [None, Some(4096)];

const SHAPES: [(usize, usize); 9] =
    [(1, 1), (3, 17), (2, 31), (31, 64), (65, 200), (5, 1000), (9, 1023), (2, 257), (600, 33)];

/// A tensor of set bits: a mask that no kernel has written yet.
fn unwritten_mask(gpu: &TestGpu, rows: usize, cols: usize) -> Tensor {
    let words = cols.div_ceil(32);
    gpu.upload(DType::U32, rows, words, vec![0xff; rows * words * 4].into()).expect("it is uploaded")
}

fn words(device: &dyn Device, mask: &Tensor) -> Vec<u32> {
    bytemuck::pod_collect_to_vec(&device.read(mask).expect("it is read"))
}

/// The twin's selection.
fn twin_mask(scores: &[f32], rows: usize, cols: usize, selection: Selection) -> Vec<u32> {
    let cpu: &dyn Device = &Cpu::new();
    let mut mask = cpu.zeros(DType::U32, rows, cols.div_ceil(32)).expect("memory");
    let scores = cpu.from_f32(rows, cols, scores.to_vec()).expect("memory");
    cpu.execute(Op::Select { scores: (&scores).into(), selection }, &mut mask).expect("it runs");
    words(cpu, &mask)
}

fn gpu_mask(gpu: &TestGpu, scores: &[f32], rows: usize, cols: usize, selection: Selection) -> Vec<u32> {
    let mut mask = unwritten_mask(gpu, rows, cols);
    gpu.execute(Op::Select { scores: (&gpu.f32(rows, cols, scores)).into(), selection }, &mut mask)
        .expect("it runs");
    assert!(gpu.guards_intact(&mask).expect("they are read"), "a kernel wrote past the mask");
    words(&**gpu, &mask)
}

#[test]
fn map_of_every_function() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        for (rows, cols) in SHAPES {
            let x: Vec<f32> = Random::new(1).normal(rows * cols).iter().map(|x| x.abs() + 0.05).collect();
            for f in Unary::ALL {
                for (scale, shift) in [(1.0, 0.0), (-2.5, 0.75)] {
                    let mut out = gpu.unwritten(rows, cols);
                    gpu.execute(Op::Map { x: &gpu.f32(rows, cols, &x), f, scale, shift }, &mut out)
                        .expect("it runs");
                    let expected = reference::map(f, &x, scale, shift);
                    let what = format!("{f:?} of {rows}x{cols}");
                    assert_close(&gpu.output(&out), &expected, 2e-6, &what);
                }
            }
        }
    }
}

#[test]
fn a_plain_map_changes_no_bit() {
    let gpu = TestGpu::open(None);
    let x = [-0.0, 0.0, f32::MIN_POSITIVE, -1.5, f32::MAX, f32::INFINITY];
    let mut out = gpu.unwritten(1, 6);
    gpu.execute(Op::Map { x: &gpu.f32(1, 6, &x), f: Unary::Identity, scale: 1.0, shift: 0.0 }, &mut out)
        .expect("it runs");
    assert!(gpu.output(&out).iter().zip(x).all(|(out, x)| out.to_bits() == x.to_bits()));
}

#[test]
fn zip_of_every_function_and_repetition() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        let mut random = Random::new(2);
        for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
            let mut positive =
                |count| random.normal(count).iter().map(|x| x.abs() + 0.05).collect::<Vec<_>>();
            let (a, b) = (positive(rows * cols), positive(rows * cols));
            let f = Unary::ALL[i];
            // Every function and every repetition, though not every pair of them with every shape: software
            // drivers take their time to compile each.
            for (j, (b_rows, b_cols)) in [(rows, cols), (1, cols), (rows, 1), (1, 1)].into_iter().enumerate()
            {
                let op = Binary::ALL[(i + 2 * j) % 8];
                // A logarithm may be negative, which has no power.
                let op = if (f, op) == (Unary::Log, Binary::Power) { Binary::Less } else { op };
                let b = &b[..b_rows * b_cols];
                let mut out = gpu.unwritten(rows, cols);
                let b_tensor = gpu.f32(b_rows, b_cols, b);
                gpu.execute(
                    Op::Zip { a: &gpu.f32(rows, cols, &a), b: &b_tensor, f, op, alpha: 0.5 },
                    &mut out,
                )
                .expect("it runs");
                let expected = reference::zip(f, &a, cols, op, 0.5, b, (b_rows, b_cols));
                let what = format!("{f:?} {op:?} [{b_rows}, {b_cols}] of {rows}x{cols}");
                assert_close(&gpu.output(&out), &expected, 2e-6, &what);
            }
        }
    }
}

#[test]
fn updates_in_place_of_every_repetition() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        let mut random = Random::new(12);
        for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
            let mut positive =
                |count| random.normal(count).iter().map(|x| x.abs() + 0.05).collect::<Vec<_>>();
            let x = positive(rows * cols);
            let (f, op) = (Unary::ALL[i], Binary::ALL[i % 6]);
            for (b_rows, b_cols) in [(rows, cols), (1, cols), (rows, 1), (1, 1)] {
                let b = positive(b_rows * b_cols);
                let scaled: Vec<f32> = x.iter().map(|x| 0.75 * x).collect();
                let expected = reference::zip(f, &scaled, cols, op, 0.5, &b, (b_rows, b_cols));
                let what = format!("{f:?} {op:?} [{b_rows}, {b_cols}] of {rows}x{cols}");
                let cpu: &dyn Device = &Cpu::new();
                let mut twin = cpu.from_f32(rows, cols, x.clone()).expect("memory");
                let twin_b = cpu.from_f32(b_rows, b_cols, b.clone()).expect("memory");
                let update = |b| Op::Update { b, f, scale: 0.75, op, alpha: 0.5 };
                cpu.execute(update(&twin_b), &mut twin).expect("it runs");
                assert_close(&cpu.to_f32(&twin).expect("it is read"), &expected, 2e-6, &what);
                let mut guarded = gpu.f32(rows, cols, &x);
                let b = gpu.f32(b_rows, b_cols, &b);
                gpu.execute(update(&b), &mut guarded).expect("it runs");
                assert_close(&gpu.output(&guarded), &expected, 2e-6, &what);
            }
        }
    }
}

#[test]
fn causal_softmax_of_rows_that_see_some_columns() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        for (rows, cols, window) in
            [(1, 1, None), (7, 7, None), (5, 300, None), (33, 70, Some(9)), (90, 90, Some(1))]
        {
            let x = Random::new(3).normal(rows * cols);
            let cpu: &dyn Device = &Cpu::new();
            let mut expected = cpu.from_f32(rows, cols, x.clone()).expect("memory");
            let mut out = gpu.f32(rows, cols, &x);
            for (device, out) in [(cpu, &mut expected), (&*gpu as &dyn Device, &mut out)] {
                device.execute(Op::CausalSoftmax { scale: 0.7, window }, out).expect("it runs");
            }
            let expected: Vec<f64> =
                cpu.to_f32(&expected).expect("it is read").into_iter().map(f64::from).collect();
            let what = format!("causal softmax of {rows}x{cols}");
            assert_close(&gpu.output(&out), &expected, 2e-6, &what);
        }
    }
}

#[test]
fn reductions_along_both_axes() {
    // The last shape needs several blocks of rows, and under a limit several panels of their results.
    let shapes = SHAPES.into_iter().chain([(5000, 3), (1500, 70)]);
    for limit in [None, Some(4096), Some(16384)] {
        let gpu = TestGpu::open(limit);
        let mut random = Random::new(3);
        for (i, (rows, cols)) in shapes.clone().enumerate() {
            let x = random.normal(rows * cols);
            for axis in [Axis::EachRow, Axis::EachColumn] {
                let (out_rows, out_cols) = if axis == Axis::EachRow { (rows, 1) } else { (1, cols) };
                let all = [Reduction::Sum, Reduction::SumAbs, Reduction::SumSquares, Reduction::MaxAbs];
                for f in [all[i % 4], all[(i + 3) % 4]] {
                    let start = random.normal(out_rows * out_cols);
                    let start: Vec<f32> = start.iter().map(|x| x.abs()).collect();
                    for accumulate in [false, true] {
                        let mut out = match accumulate {
                            true => gpu.f32(out_rows, out_cols, &start),
                            false => gpu.unwritten(out_rows, out_cols),
                        };
                        gpu.execute(
                            Op::Reduce { x: &gpu.f32(rows, cols, &x), f, axis, accumulate },
                            &mut out,
                        )
                        .expect("it runs");
                        let expected = reference::reduce(f, axis, &x, cols, accumulate.then_some(&start[..]));
                        // Plain sums cancel, so their error is relative to the sum of magnitudes.
                        let tolerance = if f == Reduction::Sum { 2e-5 } else { 1e-6 };
                        let what = format!("{f:?} {axis:?} of {rows}x{cols}, limit {limit:?}");
                        assert_close(&gpu.output(&out), &expected, tolerance, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn the_maximum_shows_nan() {
    let gpu = TestGpu::open(None);
    for at in [0, 5, 1299] {
        let mut x = vec![1.0; 1300];
        x[at] = f32::NAN;
        for (axis, rows, cols) in [(Axis::EachRow, 1, 1300), (Axis::EachColumn, 1300, 1)] {
            let mut out = gpu.f32(1, 1, &[0.0]);
            gpu.execute(
                Op::Reduce { x: &gpu.f32(rows, cols, &x), f: Reduction::MaxAbs, axis, accumulate: false },
                &mut out,
            )
            .expect("it runs");
            assert!(gpu.output(&out)[0].is_nan(), "{axis:?}, NaN at {at}");
        }
    }
}

#[test]
fn reductions_give_the_same_bytes_again() {
    let gpu = TestGpu::open(Some(16384));
    let x = gpu.f32(3000, 50, &Random::new(4).normal(150_000));
    for (axis, rows, cols) in [(Axis::EachRow, 3000, 1), (Axis::EachColumn, 1, 50)] {
        let run = || {
            let mut out = gpu.unwritten(rows, cols);
            gpu.execute(Op::Reduce { x: &x, f: Reduction::SumSquares, axis, accumulate: false }, &mut out)
                .expect("it runs");
            gpu.output(&out)
        };
        assert!(run() == run());
    }
}

#[test]
fn the_smallest_of_every_row() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        let mut random = Random::new(5);
        // The first has more words in a row than a workgroup has invocations, and ties all over.
        let wide = if limit.is_none() { (2, 8500) } else { (2, 1000) };
        for (rows, cols) in [wide].into_iter().chain(SHAPES) {
            let scores = random.scores(rows * cols);
            let smooth: Vec<f32> = random.normal(rows * cols).iter().map(|x| x * x).collect();
            for scores in [scores, smooth] {
                for count in [0, 1, cols / 3, cols / 2, cols - 1, cols] {
                    let selection = Selection::EachRow { count };
                    let found = gpu_mask(&gpu, &scores, rows, cols, selection);
                    let what = format!("{count} of {rows}x{cols}, limit {limit:?}");
                    assert!(found == twin_mask(&scores, rows, cols, selection), "{what}");
                    assert!(found == reference::select(&scores, cols, selection), "{what}");
                }
            }
        }
    }
}

#[test]
fn the_smallest_of_every_group() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        let mut random = Random::new(6);
        for (n, m) in [(2, 4), (4, 8), (1, 2), (0, 4), (4, 4), (1, 3), (5, 12), (16, 32), (7, 31), (1, 1)] {
            // A row of one group, one of several tiles, and one that is no whole number of words.
            for (rows, groups) in [(1, 1), (7, 5), (70, 24), (3, 1000 / m), (2, 4100 / m)] {
                let cols = groups * m;
                if limit.is_some_and(|limit| cols as u64 * 4 > limit) {
                    continue;
                }
                let scores = random.scores(rows * cols);
                let selection = Selection::Groups { n, m };
                let found = gpu_mask(&gpu, &scores, rows, cols, selection);
                let what = format!("{n}:{m} of {rows}x{cols}, limit {limit:?}");
                assert!(found == twin_mask(&scores, rows, cols, selection), "{what}");
                assert!(found == reference::select(&scores, cols, selection), "{what}");
            }
        }
    }
}

#[test]
fn nan_scores_are_the_greatest() {
    let gpu = TestGpu::open(None);
    let scores = [f32::NAN, 1.0, -f32::NAN, f32::INFINITY, 0.0, -0.0];
    for count in 0..=6 {
        for selection in [Selection::EachRow { count }, Selection::Groups { n: count, m: 6 }] {
            assert_eq!(gpu_mask(&gpu, &scores, 1, 6, selection), reference::select(&scores, 6, selection));
        }
    }
}

#[test]
fn the_smallest_within_a_share_of_the_row() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        let mut random = Random::new(7);
        for (rows, cols) in SHAPES {
            for scores in
                [random.scores(rows * cols), random.normal(rows * cols).iter().map(|x| x * x).collect()]
            {
                for share in [0.0, 0.1, 0.4, 0.8, 1.0] {
                    let mask = gpu_mask(&gpu, &scores, rows, cols, Selection::RowMass { share });
                    for (row, scores) in scores.chunks(cols).enumerate() {
                        let words = &mask[row * cols.div_ceil(32)..][..cols.div_ceil(32)];
                        within_share(scores, words, share, &format!("{share} of {rows}x{cols}, row {row}"));
                    }
                }
            }
        }
        let scores = [1.0, f32::INFINITY, 0.0, 1.0, f32::NAN, 0.0];
        assert_eq!(gpu_mask(&gpu, &scores, 2, 3, Selection::RowMass { share: 0.5 }), [0, 0]);
    }
}

/// The selected scores are all those up to one; together they are within the share, and with the next one
/// they are not, both but for rounding in f32.
fn within_share(scores: &[f32], mask: &[u32], share: f32, what: &str) {
    let set = |i: usize| (mask[i / 32] >> (i % 32)) & 1 == 1;
    let (mut inside, mut outside, mut mass, mut total) = (-1.0, f32::INFINITY, 0.0, 0.0);
    for (i, score) in scores.iter().enumerate() {
        total += f64::from(*score);
        if set(i) {
            mass += f64::from(*score);
            inside = score.max(inside);
        } else {
            outside = score.min(outside);
        }
    }
    assert!(inside < outside, "{what}: {inside} is selected, but {outside} is not");
    let limit = f64::from(share) * total;
    assert!(mass <= limit * (1.0 + 1e-6), "{what}: {mass} of {limit}");
    let next: f64 = scores.iter().filter(|x| **x == outside).map(|x| f64::from(*x)).sum();
    assert!(
        outside == f32::INFINITY || mass + next > limit * (1.0 - 1e-6),
        "{what}: {mass} and {next} of {limit}"
    );
    for bit in scores.len()..mask.len() * 32 {
        assert!(!set(bit), "{what}: a bit past the last column");
    }
}

#[test]
fn zero_where_writes_positive_zeros() {
    for limit in PANEL_LIMITS {
        let gpu = TestGpu::open(limit);
        let mut random = Random::new(8);
        for (rows, cols) in SHAPES {
            let x = random.normal(rows * cols);
            let words = cols.div_ceil(32);
            let mask: Vec<u32> = (0..rows * words).map(|_| random.bits() as u32).collect();
            let bytes = bytemuck::cast_slice(&mask).to_vec();
            let mask_tensor = gpu.upload(DType::U32, rows, words, bytes.into()).expect("it is uploaded");
            let mut pruned = gpu.f32(rows, cols, &x);
            gpu.execute(Op::ZeroWhere { mask: &mask_tensor }, &mut pruned).expect("it runs");
            for (i, pruned) in gpu.output(&pruned).iter().enumerate() {
                let set = (mask[i / cols * words + i % cols / 32] >> (i % cols % 32)) & 1 == 1;
                assert_eq!(pruned.to_bits(), if set { 0 } else { x[i].to_bits() }, "{i} of {rows}x{cols}");
            }
        }
    }
}
