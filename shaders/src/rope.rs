//! Rotary position embedding in the half-split layout of Hugging Face's LLaMA.

use rayon::prelude::*;

use crate::simd::multiversion;

/// Turns, in place, in every head the pair `(i, i + head_dim/2)` by the angle of the row's position:
/// x `[tokens, width]`, where `head_dim` divides `width`; table `[…, head_dim]` with a position's cosines in
/// the left half of its row and the sines in the right; positions `[tokens]`.
///
/// # Panics
/// A position is beyond the table, or the slices are not of fitting sizes.
pub fn cpu(x: &mut [f32], width: usize, head_dim: usize, table: &[f32], positions: &[u32]) {
    assert_eq!(x.len(), positions.len() * width, "x is [tokens, width]");
    if width == 0 {
        return;
    }
    x.par_chunks_exact_mut(width).zip(positions).with_min_len(8).for_each(|(x, position)| {
        let (cos, sin) = table[*position as usize * head_dim..][..head_dim].split_at(head_dim / 2);
        turn(x, head_dim, cos, sin);
    });
}

multiversion! {
    fn turn(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
        for head in x.chunks_exact_mut(head_dim) {
            let (left, right) = head.split_at_mut(head_dim / 2);
            for (((left, right), cos), sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                (*left, *right) = (*left * cos - *right * sin, *right * cos + *left * sin);
            }
        }
    }
}
