//! The plain device of `espalier_sdk::testing` against the host's CPU device, operation by operation.

use espalier_host::plugins::DeviceTensors;
use espalier_sdk::{
    Axis, Binary, DType, Device, Reduction, Result, Scores, Selection, Sparsity, Tensor, Unary, Within,
    testing,
};
use std::sync::Arc;

/// The host's CPU device as a plugin sees it.
fn host() -> Device {
    Device::new(Arc::new(DeviceTensors::new(espalier_tests::cpu())))
}

const SHAPES: [(usize, usize); 5] = [(1, 1), (3, 5), (7, 64), (33, 65), (20, 129)];

/// Every result of a computation on both devices.
fn compare(what: &str, compute: impl Fn(&Device, usize, usize) -> Result<Vec<Tensor>>) {
    let (plain, host) = (testing::device(), host());
    for (rows, cols) in SHAPES {
        let expected = compute(&plain, rows, cols).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = compute(&host, rows, cols).unwrap_or_else(|error| panic!("{what}: {error}"));
        for (expected, found) in expected.iter().zip(&found) {
            let (expected, found) = (expected.to_vec().unwrap(), found.to_vec().unwrap());
            let scale = expected.iter().fold(1.0_f32, |scale, x| scale.max(x.abs()));
            for (at, (a, b)) in expected.iter().zip(&found).enumerate() {
                assert!(
                    (a - b).abs() <= 2e-4 * scale,
                    "{what} of [{rows}, {cols}], element {at}: {a} and {b}"
                );
            }
        }
    }
}

#[test]
fn elements_and_reductions_agree() {
    compare("map", |device, rows, cols| {
        let x = testing::random(device, rows, cols, 1)?;
        [Unary::Identity, Unary::Abs, Unary::Square]
            .map(|f| device.affine(f, &x, 2.0, -0.5))
            .into_iter()
            .collect()
    });
    compare("zip", |device, rows, cols| {
        let x = testing::random(device, rows, cols, 1)?;
        let shapes = [(rows, cols), (1, cols), (rows, 1), (1, 1)];
        let zip = |(i, j)| device.zip(Unary::Abs, &x, Binary::Subtract, &testing::random(device, i, j, 2)?);
        shapes.map(zip).into_iter().collect()
    });
    compare("update", |device, rows, cols| {
        let shapes = [(rows, cols), (1, cols), (rows, 1), (1, 1)];
        let update = |(i, j)| {
            let mut x = testing::random(device, rows, cols, 1)?;
            let b = testing::random(device, i, j, 2)?;
            device.update(&mut x, (Unary::Square, -0.5), Binary::Subtract, (3.0, &b))?;
            Ok(x)
        };
        shapes.map(update).into_iter().collect()
    });
    compare("reduce", |device, rows, cols| {
        let x = testing::random(device, rows, cols, 3)?;
        let kinds = [Reduction::Sum, Reduction::SumAbs, Reduction::SumSquares, Reduction::MaxAbs];
        let all = kinds.into_iter().flat_map(|f| [Axis::EachRow, Axis::EachColumn].map(|axis| (f, axis)));
        all.map(|(f, axis)| device.reduce(f, axis, &x)).collect()
    });
}

#[test]
fn masks_agree() {
    compare("select", |device, rows, cols| {
        let x = testing::random(device, rows, cols, 4)?;
        let by = testing::layer(
            device,
            testing::random(device, 1, cols, 5)?,
            testing::random(device, 9, cols, 6)?,
            Sparsity::Ratio(0.5),
        )?;
        let scores = Scores::of(Unary::Abs, &x).by(Binary::Multiply, by.statistics.column_norms()?);
        let mut selections = vec![
            Selection::EachRow { count: cols / 2 },
            Selection::Whole { count: rows * cols / 3 },
            Selection::RowMass { share: 0.3 },
        ];
        if cols.is_multiple_of(4) {
            selections.push(Selection::Groups { n: 2, m: 4 });
        }
        let select = |selection| device.zero_where(&device.select(scores, selection)?, &x);
        let mut masked: Vec<_> = selections.into_iter().map(select).collect::<Result<_>>()?;
        let counts: Vec<usize> = (0..rows).map(|row| row * 3 % (cols + 1)).collect();
        masked.push(device.zero_where(&device.select_counts(scores, &counts)?, &x)?);
        Ok(masked)
    });
    compare("ranks", |device, rows, cols| {
        let x = testing::random(device, rows, cols, 7)?;
        let scores = Scores::of(Unary::Square, &x);
        let of_rows = device.kth_smallest(scores, Within::EachRow, cols / 2)?;
        let of_all = device.kth_smallest(scores, Within::Whole, rows * cols / 2)?;
        let below = device.zero_where(&device.at_most(scores, &of_rows)?, &x)?;
        let below_all = device.zero_where(&device.at_most(scores, &of_all)?, &x)?;
        Ok(vec![of_rows, of_all, below, below_all])
    });
}

#[test]
fn linear_algebra_agrees() {
    compare("products", |device, rows, cols| {
        let (a, b) = (testing::random(device, rows, cols, 8)?, testing::random(device, rows, cols, 9)?);
        let mut c = testing::random(device, rows, rows, 10)?;
        device.matmul(0.5, a.view(), b.view().t(), 2.0, c.view_mut())?;
        let mut d = device.zeros(DType::F32, rows + 2, cols + 1)?;
        device.copy(a.view(), d.block_mut(2..rows + 2, 1..cols + 1))?;
        Ok(vec![c, d, device.transpose(&a)?])
    });
    compare("factors", |device, rows, cols| {
        let inputs = testing::random(device, rows + cols, cols, 11)?;
        let weight = testing::random(device, 1, cols, 12)?;
        let layer = testing::layer(device, weight, inputs, Sparsity::Ratio(0.5))?;
        let ones = device.affine(Unary::Identity, &device.zeros(DType::F32, 1, cols)?, 1.0, 3.0)?;
        let damped = device.add_diagonal(layer.statistics.gram()?, &ones)?;
        let diagonal = device.diagonal(&damped)?;
        let b = testing::random(device, cols, 3, 13)?;
        let factor = device.cholesky(device.affine(Unary::Identity, &damped, 1.0, 0.0)?)?;
        let (down, up) =
            (device.triangular_solve(&factor, false, &b)?, device.triangular_solve(&factor, true, &b)?);
        let turned = device.reverse(damped)?;
        let copy = device.affine(Unary::Identity, &factor, 1.0, 0.0)?;
        Ok(vec![diagonal, down, up, turned, factor, device.triangular_inverse(copy)?])
    });
}
