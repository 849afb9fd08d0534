//! The CPU twins of the pruning kernels against plain computations, with ties, zeros and odd shapes.

mod common;

use common::{Random, assert_close};
use espalier_shaders::*;
use proptest::prelude::*;

/// The mask of the columns that a predicate names.
fn mask_of(rows: usize, cols: usize, mut set: impl FnMut(usize, usize) -> bool) -> Vec<u32> {
    let words = cols.div_ceil(32);
    let mut mask = vec![0; rows * words];
    for row in 0..rows {
        for col in 0..cols {
            mask[row * words + col / 32] |= u32::from(set(row, col)) << (col % 32);
        }
    }
    mask
}

/// The columns of a row from the smallest score on, ties in order.
fn sorted(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (scores[*a], scores[*b]);
        a.is_nan().cmp(&b.is_nan()).then(a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal))
    });
    order
}

fn unary(f: Unary, x: f32) -> f64 {
    let x = f64::from(x);
    match f {
        Unary::Identity => x,
        Unary::Abs => x.abs(),
        Unary::Square => x * x,
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Silu => x / (1.0 + (-x).exp()),
        Unary::SiluGradient => {
            let gate = 1.0 / (1.0 + (-x).exp());
            gate + x * gate * (1.0 - gate)
        }
    }
}

#[test]
fn map_and_zip_cover_every_function() {
    let mut random = Random::new(1);
    let (rows, cols) = (37, 531);
    let positive = |x: Vec<f32>| x.into_iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>();
    let (a, b) = (positive(random.normal(rows * cols)), positive(random.normal(rows * cols)));
    for f in Unary::ALL {
        let mut out = vec![f32::NAN; a.len()];
        map::cpu(f, &a, 1.5, -0.25, &mut out);
        assert_close(&out, a.iter().map(|x| 1.5 * unary(f, *x) - 0.25), 1e-6, "map");
        // A logarithm may be negative, which has no power.
        for op in Binary::ALL.into_iter().filter(|op| (f, *op) != (Unary::Log, Binary::Power)) {
            for repeat in [Repeat::Nowhere, Repeat::Row, Repeat::Column, Repeat::Number] {
                let at = |i: usize| match repeat {
                    Repeat::Nowhere => i,
                    Repeat::Row => i % cols,
                    Repeat::Column => i / cols,
                    Repeat::Number => 0,
                };
                let size = at(rows * cols - 1) + 1;
                let mut out = vec![f32::NAN; a.len()];
                zip::cpu(f, &a, op, 0.5, &b[..size], repeat, (rows, cols), &mut out);
                let expected = a.iter().enumerate().map(|(i, a)| {
                    let (a, b) = (unary(f, *a), 0.5 * f64::from(b[at(i)]));
                    match op {
                        Binary::Add => a + b,
                        Binary::Subtract => a - b,
                        Binary::Multiply => a * b,
                        Binary::Divide => a / b,
                        Binary::Minimum => a.min(b),
                        Binary::Maximum => a.max(b),
                        Binary::Power => a.powf(b),
                        Binary::Less => f64::from(u8::from(a < b)),
                    }
                });
                assert_close(&out, expected, 1e-6, "zip");
            }
        }
    }
}

#[test]
fn causal_softmax_agrees_with_f64() {
    let mut random = Random::new(9);
    for (rows, cols, window) in
        [(1, 1, None), (7, 7, None), (5, 40, None), (33, 70, Some(9)), (64, 64, Some(1))]
    {
        let x = random.normal(rows * cols);
        let mut out = x.clone();
        causal_softmax::cpu(&mut out, (rows, cols), 0.7, window);
        let expected = (0..rows * cols).map(|i| {
            let (row, col) = (i / cols, i % cols);
            let end = row + cols - rows + 1;
            let begin = end - window.unwrap_or(end).min(end);
            let e = |col: usize| (0.7 * f64::from(x[row * cols + col])).exp();
            if (begin..end).contains(&col) { e(col) / (begin..end).map(e).sum::<f64>() } else { 0.0 }
        });
        assert_close(&out, expected, 1e-6, "causal_softmax");
    }
}

#[test]
fn reductions_agree_with_f64() {
    let mut random = Random::new(2);
    for (rows, cols) in [(1, 1), (3, 100), (700, 33), (513, 1025), (1, 4000)] {
        let x = random.normal(rows * cols);
        for f in [Reduction::Sum, Reduction::SumAbs, Reduction::SumSquares, Reduction::MaxAbs] {
            let gather = |elements: &mut dyn Iterator<Item = f32>, start: f32| {
                let elements = elements.map(f64::from);
                let start = f64::from(start);
                match f {
                    Reduction::Sum => start + elements.sum::<f64>(),
                    Reduction::SumAbs => start + elements.map(f64::abs).sum::<f64>(),
                    Reduction::SumSquares => start + elements.map(|x| x * x).sum::<f64>(),
                    Reduction::MaxAbs => elements.map(f64::abs).fold(start, f64::max),
                }
            };
            for accumulate in [false, true] {
                let start = if accumulate { 2.5 } else { 0.0 };
                let fill = if accumulate { 2.5 } else { f32::NAN };
                let mut out = vec![fill; rows];
                reduce_rows::cpu(f, &x, cols, accumulate, &mut out);
                let expected = x.chunks(cols).map(|row| gather(&mut row.iter().copied(), start));
                assert_close(&out, expected, 1e-7, "reduce_rows");
                let mut out = vec![fill; cols];
                reduce_columns::cpu(f, &x, accumulate, &mut out);
                let expected =
                    (0..cols).map(|col| gather(&mut x[col..].iter().step_by(cols).copied(), start));
                assert_close(&out, expected, 1e-7, "reduce_columns");
            }
        }
    }
}

#[test]
fn the_maximum_shows_nan() {
    for at in [0, 5, 299] {
        let mut x = vec![1.0; 300];
        x[at] = f32::NAN;
        let mut out = [0.0];
        reduce_rows::cpu(Reduction::MaxAbs, &x, 300, false, &mut out);
        assert!(out[0].is_nan());
        reduce_columns::cpu(Reduction::MaxAbs, &x, false, &mut out);
        assert!(out[0].is_nan());
    }
}

#[test]
fn zero_where_writes_positive_zeros() {
    let mut random = Random::new(3);
    for (rows, cols) in [(1, 1), (3, 31), (20, 65), (9, 128)] {
        let x = random.normal(rows * cols);
        let set: Vec<bool> = x.iter().map(|x| *x < 0.3).collect();
        let mask = mask_of(rows, cols, |row, col| set[row * cols + col]);
        let mut y = x.clone();
        zero_where::cpu(&mask, cols, &mut y);
        for i in 0..x.len() {
            assert_eq!(y[i].to_bits(), if set[i] { 0 } else { x[i].to_bits() });
        }
    }
}

#[test]
fn nan_scores_are_the_greatest() {
    let scores = [f32::NAN, 1.0, -f32::NAN, f32::INFINITY, 0.0];
    for (count, expected) in [(1, 0b10000), (2, 0b10010), (3, 0b11010), (4, 0b11011), (5, 0b11111)] {
        let mut mask = [u32::MAX];
        select_rows::cpu(Scores::of(&scores, 5), count, &mut mask);
        assert_eq!(mask[0], expected);
        select_groups::cpu(Scores::of(&scores, 5), count, 5, &mut mask);
        assert_eq!(mask[0], expected);
    }
}

/// The kernels that rank scores give what they give for the same scores written out.
#[test]
fn scores_are_ranked_as_if_they_were_written() {
    let mut random = Random::new(4);
    for (rows, cols) in [(1usize, 1usize), (3, 36), (70, 1001), (1, 70_004)] {
        let (words, count) = (cols.div_ceil(32), rows * cols);
        let positive = |x: Vec<f32>| x.into_iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>();
        let (a, by) = (positive(random.normal(count)), positive(random.normal(cols)));
        for f in Unary::ALL {
            for by in std::iter::once(None).chain(Binary::ALL.map(|op| Some((op, &by[..])))) {
                // A logarithm may be negative, which has no power.
                if matches!((f, by), (Unary::Log, Some((Binary::Power, _)))) {
                    continue;
                }
                let mut written = vec![f32::NAN; count];
                match by {
                    None => map::cpu(f, &a, 1.0, 0.0, &mut written),
                    Some((op, by)) => zip::cpu(f, &a, op, 1.0, by, Repeat::Row, (rows, cols), &mut written),
                }
                let scores = [Scores { f, a: &a, cols, by }, Scores::of(&written, cols)];
                let masks = |select: &dyn Fn(Scores, &mut [u32])| {
                    let [computed, written] = scores.map(|scores| {
                        let mut mask = vec![0xdead_beef; rows * words];
                        select(scores, &mut mask);
                        mask
                    });
                    assert!(computed == written, "{f:?} {by:?} of {rows}x{cols}");
                };
                masks(&|scores, mask| select_rows::cpu(scores, cols / 2, mask));
                masks(&|scores, mask| select_whole::cpu(scores, count / 2, mask));
                masks(&|scores, mask| select_mass::cpu(scores, 0.4, mask));
                masks(&|scores, mask| at_most::cpu(scores, &[written[count / 3]], mask));
                if cols.is_multiple_of(4) {
                    masks(&|scores, mask| select_groups::cpu(scores, 2, 4, mask));
                }
                let [computed, plain] = scores.map(|scores| {
                    let mut each = vec![f32::NAN; rows];
                    kth_in_rows::cpu(scores, cols / 2, &mut each);
                    each.push(kth_smallest::cpu(scores, count / 2));
                    each
                });
                assert_eq!(computed, plain, "{f:?} {by:?} of {rows}x{cols}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn select_rows_agrees_with_a_stable_sort(
        seed in any::<u64>(), rows in 1usize..4, cols in 1usize..200, share in 0.0f64..=1.0
    ) {
        let scores = Random::new(seed).scores(rows * cols);
        let count = (cols as f64 * share) as usize;
        let chosen: Vec<Vec<usize>> = scores.chunks(cols).map(|row| sorted(row)[..count].to_vec()).collect();
        let mut mask = vec![0xdead_beef; rows * cols.div_ceil(32)];
        select_rows::cpu(Scores::of(&scores, cols), count, &mut mask);
        prop_assert_eq!(mask, mask_of(rows, cols, |row, col| chosen[row].contains(&col)));
    }

    #[test]
    fn select_groups_agrees_with_a_stable_sort(
        seed in any::<u64>(), rows in 1usize..4, groups in 1usize..40, m in 1usize..=32, n in 0usize..=32
    ) {
        let (cols, n) = (groups * m, n.min(m));
        let scores = Random::new(seed).scores(rows * cols);
        let chosen: Vec<Vec<usize>> = scores.chunks(m).map(|group| sorted(group)[..n].to_vec()).collect();
        let mut mask = vec![0xdead_beef; rows * cols.div_ceil(32)];
        select_groups::cpu(Scores::of(&scores, cols), n, m, &mut mask);
        let expected = mask_of(rows, cols, |row, col| chosen[row * groups + col / m].contains(&(col % m)));
        prop_assert_eq!(mask, expected);
    }

    #[test]
    fn select_mass_keeps_within_the_share(
        seed in any::<u64>(), rows in 1usize..4, cols in 1usize..200, share in 0.0f32..=1.0
    ) {
        let scores = Random::new(seed).scores(rows * cols);
        let bound: Vec<f32> = scores.chunks(cols).map(|row| {
            let total: f64 = row.iter().map(|x| f64::from(*x)).sum();
            let mass = |t: f32| row.iter().filter(|x| **x <= t).map(|x| f64::from(*x)).sum::<f64>();
            let limit = f64::from(share) * total * (1.0 + 1e-12);
            row.iter().copied().filter(|t| mass(*t) <= limit).fold(-1.0, f32::max)
        }).collect();
        let mut mask = vec![0xdead_beef; rows * cols.div_ceil(32)];
        select_mass::cpu(Scores::of(&scores, cols), share, &mut mask);
        prop_assert_eq!(mask, mask_of(rows, cols, |row, col| scores[row * cols + col] <= bound[row]));
    }
}
