//! Eigenvalues and eigenvectors of a symmetric matrix, in double precision.
//!
//! There is no WGSL kernel: a decomposition is thousands of small steps that depend on one another, and f32 is all that WGSL
//! has. A GPU's matrix is computed here, too.

use faer::{Mat, Side};

/// Why there is no decomposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDecomposition;

/// For a symmetric x `[side, side]`, of which the lower half is read: its eigenvalues in ascending order in the first row of
/// out `[side + 1, side]`, and below them their eigenvectors, of length 1, one a row. The signs of eigenvectors are arbitrary.
///
/// # Errors
/// An entry is NaN or infinite.
///
/// # Panics
/// x or out is of another size.
pub fn cpu(x: &[f32], side: usize, out: &mut [f32]) -> Result<(), NoDecomposition> {
    assert_eq!((x.len(), out.len()), (side * side, (side + 1) * side), "x is square, and out one row longer");
    if x.iter().any(|entry| !entry.is_finite()) {
        return Err(NoDecomposition);
    }
    if side == 0 {
        return Ok(());
    }
    let matrix = Mat::from_fn(side, side, |row, col| f64::from(x[row.max(col) * side + row.min(col)]));
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| NoDecomposition)?;
    let (values, vectors) = out.split_at_mut(side);
    for (value, entry) in values.iter_mut().zip(eigen.S().column_vector().iter()) {
        *value = *entry as f32;
    }
    for (vector, row) in eigen.U().col_iter().zip(vectors.chunks_exact_mut(side)) {
        for (entry, element) in row.iter_mut().zip(vector.iter()) {
            *entry = *element as f32;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cholesky::tests::positive;

    #[test]
    fn the_decomposition_gives_the_matrix_back() {
        for side in [1, 2, 17, 65, 130] {
            let mut x = positive(side, -0.2);
            let mut out = vec![f32::NAN; (side + 1) * side];
            // The upper half is not read.
            let whole = x.clone();
            (0..side).for_each(|row| x[row * side + row + 1..(row + 1) * side].fill(7.0));
            cpu(&x, side, &mut out).unwrap();
            let (values, vectors) = out.split_at(side);
            assert!(values.is_sorted(), "{values:?}");
            for i in 0..side {
                for j in 0..side {
                    let pairs = values.iter().zip(vectors.chunks_exact(side));
                    let product =
                        |(value, v): (&f32, &[f32])| f64::from(*value) * f64::from(v[i]) * f64::from(v[j]);
                    let sum: f64 = pairs.map(product).sum();
                    assert!((sum - f64::from(whole[i * side + j])).abs() < 1e-5, "{side}: {i} {j}");
                    let dot: f64 = (0..side)
                        .map(|k| f64::from(vectors[i * side + k]) * f64::from(vectors[j * side + k]))
                        .sum();
                    assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-5, "{side}: {i} {j}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        assert_eq!(cpu(&[f32::NAN], 1, &mut [0.0; 2]), Err(NoDecomposition));
    }
}
