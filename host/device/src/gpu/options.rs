//! How a GPU is opened.

use super::{Adapter, AdapterReport, products::Variant};
use crate::Compute;
use std::path::PathBuf;

/// How a GPU is opened.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// The type that operands of products with weights are rounded to.
    pub compute: Compute,
    /// Lowers the most bytes that are bound at once, so that tests see tensors of several panels.
    pub panel_limit: Option<u64>,
    /// Puts words past the end of every panel, within what kernels see, that
    /// [`Gpu::guards_intact`](super::Gpu::guards_intact) finds changed when a kernel wrote past its tensor.
    pub guard_bytes: u64,
    /// Whether kernels are tuned for the adapter.
    pub tuning: Tuning,
}

/// Whether kernels are tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tune {
    /// On GPUs; a software adapter, which is for tests, takes the built-in variants.
    #[default]
    Auto,
    /// On every adapter.
    Always,
    /// Never: the built-in variants.
    Never,
}

/// Whether and how kernels are tuned.
#[derive(Debug, Clone, Default)]
pub struct Tuning {
    /// Whether they are.
    pub tune: Tune,
    /// The folder that picks are kept in; otherwise `ESPALIER_CACHE`, else `espalier` in the platform's cache
    /// folder.
    pub folder: Option<PathBuf>,
    /// The candidates in place of [`CANDIDATES`](super::products::CANDIDATES).
    pub candidates: Option<Vec<Variant>>,
}

impl Tuning {
    pub(super) fn active(&self, adapter: &AdapterReport) -> bool {
        match self.tune {
            Tune::Auto => !adapter.is_software,
            Tune::Always => true,
            Tune::Never => false,
        }
    }
}

/// The side of the small matrices that products are tried with, if they are: where products in f16 were asked for,
/// and kernels are tuned, which finds out whether they are right and fast.
pub(super) fn matrix_side(adapter: &Adapter, options: &GpuOptions) -> Option<u32> {
    let wanted = options.compute == Compute::F16 && options.tuning.active(adapter.report());
    adapter.matrix_side().filter(|_| wanted)
}
