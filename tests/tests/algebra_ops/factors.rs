use crate::{Under, on_every_device};
use espalier_host::device::{DType, DeviceError, Op, Tensor};
use espalier_tests::random::Random;

/// Blocks on the diagonal are 64 × 64 on a GPU, so panels are at least as large.
const PANEL_LIMIT: u64 = 16384;

const SIDES: [usize; 7] = [1, 5, 63, 64, 65, 130, 200];

/// `x xᵀ / side + shift · I` of a random x: symmetric and positive definite.
fn positive(random: &mut Random, side: usize, shift: f32) -> Vec<f32> {
    let x = random.normal(side * side);
    let mut product = vec![0.0; side * side];
    for i in 0..side {
        for j in 0..=i {
            let sum: f64 = (0..side).map(|k| f64::from(x[i * side + k]) * f64::from(x[j * side + k])).sum();
            let entry = (sum / side as f64) as f32 + if i == j { shift } else { 0.0 };
            product[i * side + j] = entry;
            product[j * side + i] = entry;
        }
    }
    product
}

/// The Cholesky factor in double precision.
fn cholesky(x: &[f32], side: usize) -> Vec<f64> {
    let mut l = vec![0.0; side * side];
    for i in 0..side {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| l[i * side + k] * l[j * side + k]).sum();
            let rest = f64::from(x[i * side + j]) - sum;
            l[i * side + j] = if i == j { rest.sqrt() } else { rest / l[j * side + j] };
        }
    }
    l
}

/// The inverse of a lower triangular matrix in double precision.
fn inverse(l: &[f64], side: usize) -> Vec<f64> {
    let mut out = vec![0.0; side * side];
    for j in 0..side {
        for i in j..side {
            let sum: f64 = (j..i).map(|k| l[i * side + k] * out[k * side + j]).sum();
            out[i * side + j] = (if i == j { 1.0 } else { 0.0 } - sum) / l[i * side + i];
        }
    }
    out
}

/// The largest error, relative to the largest entry.
fn error(found: &[f32], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0f64, |max, x| max.max(x.abs()));
    let worst = found.iter().zip(expected).fold(0.0f64, |worst, (found, expected)| {
        let error = (f64::from(*found) - expected).abs();
        if error.is_nan() { f64::INFINITY } else { worst.max(error) }
    });
    worst / largest
}

fn factor(under: &Under, x: &[f32], side: usize) -> Tensor {
    let mut x = x.to_vec();
    // The upper half is not read.
    for row in 0..side {
        x[row * side + row + 1..(row + 1) * side].fill(f32::NAN);
    }
    let mut l = under.f32(side, side, &x);
    under.device().execute(Op::Cholesky {}, &mut l).expect("it is positive definite");
    l
}

/// Large enough for an inverse to be put together in several strips of columns.
#[test]
fn the_inverse_of_a_long_chain_is_its_closed_form() {
    on_every_device(4 << 20, |under| {
        let side = 1290;
        // 1 on the diagonal, and below it what makes the inverse's entries products of a few neighbours.
        let below = |row: usize| -0.9 + 0.01 * (row % 7) as f32;
        let mut l = vec![0.0; side * side];
        for row in 0..side {
            l[row * side + row] = 1.0;
            if row > 0 {
                l[row * side + row - 1] = below(row);
            }
        }
        let mut out = under.f32(side, side, &l);
        under.device().execute(Op::TriangularInverse {}, &mut out).expect("it runs");
        let found = under.output(&out);
        for col in 0..side {
            let mut expected = 1.0;
            for row in 0..side {
                let found = f64::from(found[row * side + col]);
                if row < col {
                    assert_eq!(found, 0.0, "{}: [{row}, {col}]", under.what);
                    continue;
                }
                if row > col {
                    expected *= -f64::from(below(row));
                }
                assert!((found - expected).abs() < 1e-5, "{}: [{row}, {col}] {found} {expected}", under.what);
            }
        }
    });
}

#[test]
fn factors_and_their_inverses_are_those_of_double_precision() {
    on_every_device(PANEL_LIMIT, |under| {
        let mut random = Random::new(1);
        for side in SIDES {
            let x = positive(&mut random, side, 0.1);
            let mut l = factor(under, &x, side);
            let expected = cholesky(&x, side);
            let what = format!("{}: {side}", under.what);
            let found = under.output(&l);
            assert!(error(&found, &expected) < 1e-5, "{what}: factor, {}", error(&found, &expected));
            under.device().execute(Op::TriangularInverse {}, &mut l).expect("it runs");
            let expected = inverse(&expected, side);
            let inverse = under.output(&l);
            assert!(error(&inverse, &expected) < 1e-4, "{what}: inverse, {}", error(&inverse, &expected));
            for row in 0..side {
                let above = row * side + row + 1..(row + 1) * side;
                assert!(
                    found[above.clone()].iter().chain(&inverse[above]).all(|x| x.to_bits() == 0),
                    "{what}"
                );
            }
        }
    });
}

#[test]
fn eigenvectors_give_the_matrix_back() {
    on_every_device(PANEL_LIMIT, |under| {
        let mut random = Random::new(6);
        for side in [1, 2, 33, 130] {
            let mut x = positive(&mut random, side, -0.3);
            let whole = x.clone();
            // The upper half is not read.
            (0..side).for_each(|row| x[row * side + row + 1..(row + 1) * side].fill(9.0));
            let mut out = under.f32(side + 1, side, &vec![f32::NAN; (side + 1) * side]);
            under
                .device()
                .execute(Op::SymmetricEigen { x: &under.f32(side, side, &x) }, &mut out)
                .expect("it runs");
            let found = under.output(&out);
            let (values, vectors) = found.split_at(side);
            assert!(values.is_sorted(), "{}: {values:?}", under.what);
            for (at, expected) in whole.iter().enumerate() {
                let (i, j) = (at / side, at % side);
                let product = |k: usize| {
                    f64::from(values[k]) * f64::from(vectors[k * side + i]) * f64::from(vectors[k * side + j])
                };
                let sum: f64 = (0..side).map(product).sum();
                assert!((sum - f64::from(*expected)).abs() < 1e-5, "{}: {side}: {i} {j}", under.what);
            }
        }
        let nan = under.f32(1, 1, &[f32::NAN]);
        let refused = under.device().execute(Op::SymmetricEigen { x: &nan }, &mut under.f32(2, 1, &[0.0; 2]));
        assert!(matches!(refused, Err(DeviceError::NoDecomposition)), "{}", under.what);
    });
}

#[test]
fn systems_are_solved_from_both_ends() {
    on_every_device(PANEL_LIMIT, |under| {
        let mut random = Random::new(2);
        for (side, cols) in [(1, 1), (65, 3), (64, 70), (200, 33)] {
            let l: Vec<f32> =
                cholesky(&positive(&mut random, side, 0.5), side).iter().map(|x| *x as f32).collect();
            let b = random.normal(side * cols);
            for transposed in [false, true] {
                let mut x = under.f32(side, cols, &b);
                under
                    .device()
                    .execute(Op::TriangularSolve { l: &under.f32(side, side, &l), transposed }, &mut x)
                    .expect("it runs");
                let x = under.output(&x);
                for (at, b) in b.iter().enumerate() {
                    let (i, j) = (at / cols, at % cols);
                    let entry = |k: usize| if transposed { l[k * side + i] } else { l[i * side + k] };
                    let sum: f64 = (0..side).map(|k| f64::from(entry(k)) * f64::from(x[k * cols + j])).sum();
                    assert!((sum - f64::from(*b)).abs() < 1e-3, "{}: {side}x{cols} {transposed}", under.what);
                }
            }
        }
    });
}

#[test]
fn the_pivot_that_fails_is_named() {
    on_every_device(PANEL_LIMIT, |under| {
        let mut random = Random::new(3);
        for (side, bad) in [(1, 0), (70, 3), (200, 150), (130, 129)] {
            let mut x = positive(&mut random, side, 0.1);
            for value in [-1.0, f32::NAN] {
                x[bad * side + bad] = value;
                match under.device().execute(Op::Cholesky {}, &mut under.f32(side, side, &x)) {
                    Err(DeviceError::NotPositiveDefinite { pivot, value }) => {
                        assert_eq!(pivot, bad, "{}: {side}", under.what);
                        assert!(value.is_nan() || value < 0.0, "{}: {value}", under.what);
                    }
                    other => panic!("{}: {side}: {other:?}", under.what),
                }
            }
        }
    });
}

/// `U` with `H⁻¹ = UᵀU`, as SparseGPT takes it: one Cholesky of the reversed matrix, one inverse.
fn inverse_factor(under: &Under, h: &[f32], side: usize) -> Vec<f32> {
    let device = under.device();
    let mut x = under.f32(side, side, h);
    device.execute(Op::Reverse {}, &mut x).expect("it runs");
    device.execute(Op::Cholesky {}, &mut x).expect("it is positive definite");
    device.execute(Op::TriangularInverse {}, &mut x).expect("it runs");
    device.execute(Op::Reverse {}, &mut x).expect("it runs");
    under.output(&x)
}

fn inverse_factor_in_f64(h: &[f32], side: usize) -> Vec<f64> {
    let reversed: Vec<f32> = h.iter().rev().copied().collect();
    let mut inverse = inverse(&cholesky(&reversed, side), side);
    inverse.reverse();
    inverse
}

#[test]
fn the_inverses_factor_survives_ill_conditioned_matrices() {
    on_every_device(PANEL_LIMIT, |under| {
        let mut random = Random::new(4);
        let side = 160;
        // Fewer tokens than columns; columns whose scales alone make a condition number of 1e8. A hundredth
        // of the mean is the default damping; the tolerances are well above what was seen.
        let scales: Vec<f32> = (0..side).map(|j| 10f32.powf(-4.0 * j as f32 / (side - 1) as f32)).collect();
        for (name, tokens, scaled, damping, tolerance) in [
            ("rank 40", 40, false, 0.01, 1e-4),
            ("rank 40, lightly damped", 40, false, 1e-4, 5e-2),
            ("scaled columns", 400, true, 0.01, 1e-5),
            ("scaled columns, not damped", 400, true, 0.0, 1e-5),
        ] {
            let mut x = random.normal(tokens * side);
            if scaled {
                x.iter_mut().enumerate().for_each(|(at, x)| *x *= scales[at % side]);
            }
            let mut gram = under.device().zeros(DType::F32, side, side).expect("memory");
            under.device().execute(Op::Gram { x: &under.f32(tokens, side, &x) }, &mut gram).expect("it runs");
            let mut h = under.output(&gram);
            let mean = h.iter().step_by(side + 1).map(|x| f64::from(*x)).sum::<f64>() / side as f64;
            h.iter_mut().step_by(side + 1).for_each(|x| *x += (damping * mean) as f32);
            let found = error(&inverse_factor(under, &h, side), &inverse_factor_in_f64(&h, side));
            println!("{}: {name}: relative error {found:.1e}", under.what);
            assert!(found < tolerance, "{}: {name}: {found:e}", under.what);
        }
    });
}
