//! The diagonal of a square matrix: taking it out, and adding to it.

/// `out[j] = x[j, j]`.
///
/// # Panics
/// x is not square, or out is not as long as a row.
pub fn take(x: &[f32], out: &mut [f32]) {
    let side = out.len();
    assert_eq!(x.len(), side * side, "x is square");
    for (j, out) in out.iter_mut().enumerate() {
        *out = x[j * side + j];
    }
}

/// `x[j, j] += d[j]`.
///
/// # Panics
/// x is not square, or d is not as long as a row.
pub fn add(d: &[f32], x: &mut [f32]) {
    let side = d.len();
    assert_eq!(x.len(), side * side, "x is square");
    for (j, d) in d.iter().enumerate() {
        x[j * side + j] += d;
    }
}
