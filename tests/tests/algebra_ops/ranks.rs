use crate::on_every_device;
use espalier_host::device::{Binary, DType, Op, Scores, Selection, Tensor, Unary, Within};
use espalier_tests::{random::Random, reference};

const SHAPES: [(usize, usize); 7] = [(1, 1), (3, 17), (31, 64), (65, 200), (600, 33), (9, 1000), (1100, 5)];

#[test]
fn the_value_at_a_place_is_that_of_a_sort() {
    on_every_device(4096, |under| {
        let mut random = Random::new(1);
        for (rows, cols) in SHAPES {
            let smooth: Vec<f32> = random.normal(rows * cols).iter().map(|x| x * x).collect();
            for scores in [random.scores(rows * cols), smooth] {
                let tensor = under.f32(rows, cols, &scores);
                let mut sorted = scores.clone();
                sorted.sort_by(f32::total_cmp);
                for k in [0, scores.len() / 3, scores.len() - 1] {
                    let mut out = under.unwritten(DType::F32, 1, 1);
                    under
                        .device()
                        .execute(
                            Op::KthSmallest { scores: (&tensor).into(), within: Within::Whole, k },
                            &mut out,
                        )
                        .expect("it runs");
                    assert_eq!(under.output(&out), [sorted[k]], "{}: {k} of {rows}x{cols}", under.what);
                }
                for k in [0, cols / 2, cols - 1] {
                    let mut out = under.unwritten(DType::F32, rows, 1);
                    under
                        .device()
                        .execute(
                            Op::KthSmallest { scores: (&tensor).into(), within: Within::EachRow, k },
                            &mut out,
                        )
                        .expect("it runs");
                    for (row, found) in scores.chunks(cols).zip(under.output(&out)) {
                        let mut sorted = row.to_vec();
                        sorted.sort_by(f32::total_cmp);
                        assert_eq!(found, sorted[k], "{}: {k} of {rows}x{cols}", under.what);
                    }
                }
            }
        }
    });
}

#[test]
fn the_smallest_of_a_whole_matrix_ties_to_the_first() {
    on_every_device(4096, |under| {
        let mut random = Random::new(2);
        for (rows, cols) in SHAPES.into_iter().chain([(2, 1020)]) {
            let scores = random.scores(rows * cols);
            let order = reference::sorted(&scores);
            for count in [0, 1, scores.len() / 4, scores.len() / 2, scores.len() - 1, scores.len()] {
                let words = cols.div_ceil(32);
                let mut mask = under.unwritten(DType::U32, rows, words);
                let selection = Selection::Whole { count };
                under
                    .device()
                    .execute(
                        Op::Select { scores: (&under.f32(rows, cols, &scores)).into(), selection },
                        &mut mask,
                    )
                    .expect("it runs");
                let mut expected = vec![0u32; rows * words];
                for at in &order[..count] {
                    expected[at / cols * words + at % cols / 32] |= 1 << (at % cols % 32);
                }
                assert!(under.words(&mask) == expected, "{}: {count} of {rows}x{cols}", under.what);
            }
        }
    });
}

#[test]
fn masks_of_thresholds_have_equals_and_no_nan() {
    on_every_device(4096, |under| {
        let mut random = Random::new(3);
        for (rows, cols) in SHAPES {
            let mut scores = random.scores(rows * cols);
            scores[rows * cols / 2] = f32::NAN;
            let thresholds: Vec<f32> =
                (0..rows).map(|row| if row % 5 == 4 { f32::NAN } else { random.below(4) as f32 }).collect();
            let tensor = under.f32(rows, cols, &scores);
            for limits in [&thresholds[..1], &thresholds] {
                let words = cols.div_ceil(32);
                let mut mask = under.unwritten(DType::U32, rows, words);
                let limits_tensor = under.f32(limits.len(), 1, limits);
                under
                    .device()
                    .execute(Op::AtMost { scores: (&tensor).into(), thresholds: &limits_tensor }, &mut mask)
                    .expect("it runs");
                let mut expected = vec![0u32; rows * words];
                for (at, score) in scores.iter().enumerate() {
                    let limit = if limits.len() == 1 { limits[0] } else { limits[at / cols] };
                    expected[at / cols * words + at % cols / 32] |=
                        u32::from(*score <= limit) << (at % cols % 32);
                }
                assert!(under.words(&mask) == expected, "{}: {rows}x{cols}", under.what);
            }
        }
    });
}

#[test]
fn every_row_has_a_count_of_its_own() {
    on_every_device(4096, |under| {
        let mut random = Random::new(7);
        for (rows, cols) in SHAPES {
            let mut scores = random.scores(rows * cols);
            scores[rows * cols / 3] = f32::NAN;
            // None, all, and more than there are, too.
            let counts: Vec<u32> = (0..rows).map(|row| ((row * 7) % (cols + 3)) as u32).collect();
            let words = cols.div_ceil(32);
            let mut mask = under.unwritten(DType::U32, rows, words);
            let tensor = under.f32(rows, cols, &scores);
            let counts_tensor = under.device().from_u32(&counts).expect("memory");
            let op = Op::SelectCounts { scores: (&tensor).into(), counts: &counts_tensor };
            under.device().execute(op, &mut mask).expect("it runs");
            let mut expected = vec![0u32; rows * words];
            for (row, &count) in counts.iter().enumerate() {
                for at in reference::sorted(&scores[row * cols..][..cols]).into_iter().take(count as usize) {
                    expected[row * words + at / 32] |= 1 << (at % 32);
                }
            }
            assert!(under.words(&mask) == expected, "{}: {rows}x{cols}", under.what);
        }
    });
}

/// Scores that are computed while they are ranked are ranked as if it had been written first.
#[test]
fn scores_are_computed_as_they_are_ranked() {
    let functions = [
        (Unary::Abs, Some(Binary::Multiply)),
        (Unary::Square, Some(Binary::Divide)),
        (Unary::Identity, Some(Binary::Add)),
        (Unary::Sqrt, Some(Binary::Subtract)),
        (Unary::Abs, None),
    ];
    on_every_device(4096, |under| {
        let mut random = Random::new(4);
        for (number, (rows, cols)) in [(1, 1), (31, 64), (65, 200), (9, 1000)].into_iter().enumerate() {
            let mut positive = |count| random.normal(count).iter().map(|x| x.abs() + 4.0).collect::<Vec<_>>();
            let a = under.f32(rows, cols, &positive(rows * cols));
            let row = under.f32(1, cols, &positive(cols).iter().map(|x| x / 100.0).collect::<Vec<_>>());
            for (f, op) in functions {
                let device = under.device();
                let mut written = under.unwritten(DType::F32, rows, cols);
                match op {
                    None => device.execute(Op::Map { x: &a, f, scale: 1.0, shift: 0.0 }, &mut written),
                    Some(op) => device.execute(Op::Zip { a: &a, b: &row, f, op, alpha: 1.0 }, &mut written),
                }
                .expect("it runs");
                let computed = Scores { f, a: &a, by: op.map(|op| (op, &row)) };
                let what = format!("{}: {f:?} {op:?} of {rows}x{cols}", under.what);
                let masks = |select: &dyn Fn(Scores, &mut Tensor)| {
                    let [one, other] = [computed, (&written).into()].map(|scores| {
                        let mut mask = under.unwritten(DType::U32, rows, cols.div_ceil(32));
                        select(scores, &mut mask);
                        under.words(&mask)
                    });
                    assert!(one == other, "{what}");
                };
                let mut selections = vec![
                    Selection::EachRow { count: cols / 2 },
                    Selection::Whole { count: rows * cols / 3 },
                    Selection::RowMass { share: 0.3 },
                ];
                if cols.is_multiple_of(4) {
                    selections.push(Selection::Groups { n: 2, m: 4 });
                }
                for selection in selections {
                    masks(&|scores, mask| {
                        device.execute(Op::Select { scores, selection }, mask).expect("it runs")
                    });
                }
                let limit = under.f32(1, 1, &[4.5]);
                masks(&|scores, mask| {
                    device.execute(Op::AtMost { scores, thresholds: &limit }, mask).expect("it runs")
                });
                let within = [Within::EachRow, Within::Whole][number % 2];
                let [one, other] = [computed, (&written).into()].map(|scores| {
                    let found = if within == Within::EachRow { rows } else { 1 };
                    let mut out = under.unwritten(DType::F32, found, 1);
                    device
                        .execute(Op::KthSmallest { scores, within, k: cols / 2 }, &mut out)
                        .expect("it runs");
                    under.output(&out)
                });
                assert_eq!(one, other, "{what}");
            }
        }
    });
}

#[test]
fn a_row_that_does_not_fit_scores_is_named() {
    on_every_device(4096, |under| {
        let (a, row) = (under.f32(3, 5, &[1.0; 15]), under.f32(1, 4, &[1.0; 4]));
        let mut mask = under.unwritten(DType::U32, 3, 1);
        let scores = Scores { f: Unary::Abs, a: &a, by: Some((Binary::Multiply, &row)) };
        let error = under
            .device()
            .execute(Op::Select { scores, selection: Selection::EachRow { count: 1 } }, &mut mask);
        let message = "select: a tensor of shape [1, 5] is needed, but this one is [1, 4]";
        assert_eq!(error.expect_err("4 is not 5").to_string(), message);
    });
}
