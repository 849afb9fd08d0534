use crate::on_every_device;
use espalier_host::device::{DType, Selection, Within};
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
                    under.device().kth_smallest(&tensor, Within::Whole, k, &mut out).expect("it runs");
                    assert_eq!(under.output(&out), [sorted[k]], "{}: {k} of {rows}x{cols}", under.what);
                }
                for k in [0, cols / 2, cols - 1] {
                    let mut out = under.unwritten(DType::F32, rows, 1);
                    under.device().kth_smallest(&tensor, Within::EachRow, k, &mut out).expect("it runs");
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
                    .select(&under.f32(rows, cols, &scores), selection, &mut mask)
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
                under.device().at_most(&tensor, &limits_tensor, &mut mask).expect("it runs");
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
