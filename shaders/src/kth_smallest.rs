//! The value at a place of the sorted scores of a whole matrix.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    Kernel, Scores,
    order::{key, select, value},
    parallel::with_scratch,
    wgsl,
};

/// Bindings: a and by of [`Scores`] f32, state u32 `[1, STATE_WORDS]`, out f32 `[1, 1]`. Counting takes a
/// workgroup for every [`PER_WORKGROUP`] scores, finding a digit takes one.
///
/// Constants: `PHASE`, 0 to count and 1 to find a digit.
pub const KERNEL: Kernel = wgsl::kth_smallest::KERNEL.with::<Params>();

/// Scores that a workgroup counts.
pub const PER_WORKGROUP: usize = wgsl::kth_smallest::PER_WORKGROUP as usize;

/// Words of the state, all 0 before the first run. Afterwards the first is the key of the score that was
/// found, the second its place among its equals, from 0, and the fourth 0.
pub const STATE_WORDS: usize = wgsl::kth_smallest::STATE_WORDS as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Scores of the panel.
    pub count: u32,
    /// Columns of the scores.
    pub cols: u32,
    /// The place, from 0.
    pub place: u32,
    /// Where the digit is: 24, 16, 8, 0.
    pub shift: u32,
}

/// Scores that one task counts.
const PIECE: usize = 1 << 16;

/// The value at place `k`, from 0, of all sorted scores.
///
/// # Panics
/// `k` is not below the number of scores.
pub fn cpu(scores: Scores<'_>, k: usize) -> f32 {
    value(threshold(scores, k).0)
}

/// The key at place `k` of all sorted keys, and how many keys are below it.
pub(crate) fn threshold(scores: Scores<'_>, k: usize) -> (u32, usize) {
    let count = scores.a.len();
    assert!(k < count, "a place among the scores");
    let pieces = || (0..count.div_ceil(PIECE)).into_par_iter();
    let piece = |number: usize| number * PIECE..((number + 1) * PIECE).min(count);
    // The keys' upper halves first: what is left after that is few enough for one thread.
    let halves = |number| with_scratch(PIECE, |computed| upper_halves(scores.read(piece(number), computed)));
    let histogram = pieces().map(halves).reduce(
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
    let keys = |number| -> Vec<u32> {
        let piece = piece(number);
        with_scratch(PIECE, |computed| scores.read(piece, computed).iter().filter_map(inside).collect())
    };
    let mut keys: Vec<u32> = pieces().flat_map_iter(keys).collect();
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
            prop_assert_eq!(cpu(Scores::of(&scores, scores.len()), k), sorted[k]);
            let mut out = [0.0];
            crate::kth_in_rows::cpu(Scores::of(&scores, scores.len()), k, &mut out);
            prop_assert_eq!(out[0], sorted[k]);
        }
    }
}
