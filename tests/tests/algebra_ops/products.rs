use crate::on_every_device;
use espalier_host::device::{DType, Op, Operand};
use espalier_tests::random::Random;

#[test]
fn rectangles_multiply() {
    on_every_device(4096, |under| {
        let mut random = Random::new(1);
        // (m, n, k), the matrices' columns, and where the rectangles start.
        let cases = [
            ((1, 1, 1), 5, (2, 3)),
            ((3, 70, 5), 77, (0, 1)),
            ((65, 9, 33), 79, (1, 0)),
            ((64, 64, 64), 64, (0, 0)),
            ((33, 31, 130), 132, (4, 0)),
            ((130, 40, 17), 140, (2, 8)),
            ((20, 30, 0), 35, (1, 1)),
        ];
        for ((m, n, k), cols, from) in cases {
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let swap = |(x, y): (usize, usize), t| if t { (y, x) } else { (x, y) };
                let (a_size, b_size) = (swap((m, k), ta), swap((k, n), tb));
                let wide = |size: (usize, usize)| (size.0 + from.0 + 1, cols.max(size.1 + from.1));
                let (a_shape, b_shape, c_shape) = (wide(a_size), wide(b_size), wide((m, n)));
                let a = random.normal(a_shape.0 * a_shape.1);
                let b = random.normal(b_shape.0 * b_shape.1);
                let old = random.normal(c_shape.0 * c_shape.1);
                let a_tensor = under.f32(a_shape.0, a_shape.1, &a);
                let b_tensor = under.f32(b_shape.0, b_shape.1, &b);
                let operand = |tensor, (rows, cols), transposed| Operand {
                    tensor,
                    row: from.0,
                    col: from.1,
                    rows,
                    cols,
                    transposed,
                };
                for (alpha, beta) in [(1.0, 0.0), (-0.5, 2.0)] {
                    let mut c = match beta {
                        0.0 => under.unwritten(DType::F32, c_shape.0, c_shape.1),
                        _ => under.f32(c_shape.0, c_shape.1, &old),
                    };
                    let left = operand(&a_tensor, a_size, ta);
                    let right = operand(&b_tensor, b_size, tb);
                    under
                        .device()
                        .execute(Op::Matmul { a: left, b: right, alpha, beta, to: from }, &mut c)
                        .expect("it runs");
                    for (at, &found) in under.output(&c).iter().enumerate() {
                        let (row, col) = (at / c_shape.1, at % c_shape.1);
                        let inside =
                            (from.0..from.0 + m).contains(&row) && (from.1..from.1 + n).contains(&col);
                        let what = || format!("{}: {m}x{n}x{k} {ta} {tb} [{row}, {col}]", under.what);
                        if !inside {
                            let same = if beta == 0.0 { found.is_nan() } else { found == old[at] };
                            assert!(same, "{}: outside of the rectangle", what());
                            continue;
                        }
                        let (i, j) = (row - from.0, col - from.1);
                        let entry = |x: &[f32], cols: usize, (row, col): (usize, usize)| {
                            f64::from(x[(from.0 + row) * cols + from.1 + col])
                        };
                        let term = |p| {
                            entry(&a, a_shape.1, swap((i, p), ta)) * entry(&b, b_shape.1, swap((p, j), tb))
                        };
                        let sum: f64 = (0..k).map(term).sum();
                        let kept = if beta == 0.0 { 0.0 } else { f64::from(beta) * f64::from(old[at]) };
                        let expected = f64::from(alpha) * sum + kept;
                        assert!((f64::from(found) - expected).abs() < 1e-4, "{}: {found} {expected}", what());
                    }
                }
            }
        }
    });
}

#[test]
fn gram_matrices_add_up_and_are_symmetric() {
    on_every_device(4096, |under| {
        let mut random = Random::new(2);
        for (tokens, cols) in [(1, 1), (7, 3), (5, 300), (200, 64), (130, 129), (1000, 33)] {
            if under.what.contains("panels") && cols * 4 > 1024 {
                continue;
            }
            let x = random.normal(tokens * cols);
            let tensor = under.f32(tokens, cols, &x);
            let mut gram = under.device().zeros(DType::F32, cols, cols).expect("memory");
            for _ in 0..2 {
                under.device().execute(Op::Gram { x: &tensor }, &mut gram).expect("it runs");
            }
            let found = under.output(&gram);
            for i in 0..cols {
                for j in 0..cols {
                    let sum: f64 =
                        (0..tokens).map(|t| f64::from(x[t * cols + i]) * f64::from(x[t * cols + j])).sum();
                    let entry = found[i * cols + j];
                    let error = (f64::from(entry) - 2.0 * sum).abs() / tokens as f64;
                    assert!(error < 1e-5, "{}: {tokens}x{cols} [{i}, {j}]: {entry}", under.what);
                    assert_eq!(entry, found[j * cols + i], "{}: {tokens}x{cols} [{i}, {j}]", under.what);
                }
            }
        }
    });
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    on_every_device(4096, |under| {
        let device = under.device();
        let (a, b) = (under.f32(2, 3, &[1.0; 6]), under.f32(2, 3, &[1.0; 6]));
        let mut c = under.unwritten(DType::F32, 2, 2);
        assert!(
            device
                .execute(Op::Matmul { a: a.all(), b: b.all(), alpha: 1.0, beta: 0.0, to: (0, 0) }, &mut c)
                .is_err(),
            "inner sizes differ"
        );
        let right = b.all().t();
        assert!(
            device
                .execute(Op::Matmul { a: a.all(), b: right, alpha: 1.0, beta: 0.0, to: (1, 0) }, &mut c)
                .is_err(),
            "beyond c"
        );
        assert!(
            device
                .execute(Op::Matmul { a: a.all(), b: right, alpha: 1.0, beta: 0.0, to: (0, 0) }, &mut c)
                .is_ok()
        );
        assert!(device.execute(Op::Gram { x: &a }, &mut c).is_err());
    });
}
