//! `out = J x J`: the order of rows and of columns reversed.

use rayon::prelude::*;

/// Reverses the order of rows and of columns.
///
/// # Panics
/// The slices are not of the same size.
pub fn cpu(x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "out has x's shape");
    const PIECE: usize = 1 << 14;
    out.par_chunks_mut(PIECE).zip(x.par_rchunks(PIECE)).for_each(|(out, x)| {
        for (out, x) in out.iter_mut().zip(x.iter().rev()) {
            *out = *x;
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_becomes_the_last() {
        let x: Vec<f32> = (0..40_001).map(|i| i as f32).collect();
        let mut out = vec![0.0; x.len()];
        super::cpu(&x, &mut out);
        assert!(out.iter().zip(x.iter().rev()).all(|(a, b)| a == b));
    }
}
