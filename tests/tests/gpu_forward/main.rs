//! The kernels of the forward pass on a GPU, against references in f64: odd shapes, every weight type,
//! tensors of several panels, outputs and guard words that hold NaN before.

mod attention;
mod convert;
mod linear;
mod memory;
mod packed;
mod rows;
mod timing;
mod tune;

/// Panel limits that tests of row-wise kernels use: none, and one that cuts matrices into many panels.
const PANEL_LIMITS: [Option<u64>; 2] = [None, Some(4096)];

/// Fails unless `got` is within `tolerance` of `want`; NaN never is.
#[track_caller]
fn close(got: f32, want: f64, tolerance: f64, what: impl Fn() -> String) {
    let error = (f64::from(got) - want).abs();
    assert!(error <= tolerance, "{}: got {got}, want {want} within {tolerance}", what());
}
