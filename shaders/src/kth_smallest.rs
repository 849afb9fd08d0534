//! The value at a place of the sorted scores, of each row or of the whole matrix.

use rayon::prelude::*;

use crate::{
    order::{key, select, value},
    parallel::with_scratch,
    select_rows::keys_of,
};

/// Scores that one task counts.
const PIECE: usize = 1 << 16;

/// `out[row]` = the value at place `k`, from 0, of the row's sorted scores.
///
/// # Panics
/// `k` is not below `cols`, or the slices are not of fitting sizes.
pub fn each_row(scores: &[f32], cols: usize, k: usize, out: &mut [f32]) {
    assert_eq!(scores.len(), out.len() * cols, "out is [rows, 1]");
    assert!(out.is_empty() || k < cols, "a place in a row");
    out.par_iter_mut().zip(scores.par_chunks_exact(cols.max(1))).for_each(|(out, scores)| {
        with_scratch(cols, |scratch| {
            let keys = bytemuck::cast_slice_mut(scratch);
            keys_of(scores, keys);
            *out = value(select(keys, k).0);
        });
    });
}

/// The value at place `k`, from 0, of all sorted scores.
///
/// # Panics
/// `k` is not below the number of scores.
pub fn whole(scores: &[f32], k: usize) -> f32 {
    value(threshold(scores, k).0)
}

/// The key at place `k` of all sorted keys, and how many keys are below it.
pub(crate) fn threshold(scores: &[f32], k: usize) -> (u32, usize) {
    assert!(k < scores.len(), "a place among the scores");
    // The keys' upper halves first: what is left after that is few enough for one thread.
    let histogram = scores.par_chunks(PIECE).map(upper_halves).reduce(
        || vec![0u32; 1 << 16],
        |mut sum, part| {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            sum
        },
    );
    let (mut bucket, mut below) = (0, 0);
    while below + histogram[bucket] as usize <= k {
        below += histogram[bucket] as usize;
        bucket += 1;
    }
    let inside = |&score: &f32| Some(key(score)).filter(|key| (key >> 16) as usize == bucket);
    let mut keys: Vec<u32> = scores.par_iter().filter_map(inside).collect();
    let (found, smaller) = select(&mut keys, k - below);
    (found, below + smaller)
}

fn upper_halves(scores: &[f32]) -> Vec<u32> {
    let mut histogram = vec![0; 1 << 16];
    for &score in scores {
        histogram[(key(score) >> 16) as usize] += 1;
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_value_that_sorting_finds(
            scores in proptest::collection::vec(prop_oneof![0.0f32..4.0, Just(1.0f32), Just(0.0f32)], 1..200),
            k in 0usize..200,
        ) {
            let k = k % scores.len();
            let mut sorted = scores.clone();
            sorted.sort_by(f32::total_cmp);
            prop_assert_eq!(whole(&scores, k), sorted[k]);
            let mut out = [0.0];
            each_row(&scores, scores.len(), k, &mut out);
            prop_assert_eq!(out[0], sorted[k]);
        }
    }
}
