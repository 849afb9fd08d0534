//! The kernels and tiles that a product with weights may be computed with.

use espalier_shaders::{
    Kernel,
    linear::{self, OUTPUTS, STAGED_BYTES, TOKENS},
};
use std::fmt;

/// A kernel for [`Device::linear`](crate::device::Device::linear) and the tile that a workgroup computes.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The kernel: its bindings, parameters and constants are those of [`linear::KERNEL`].
    pub kernel: &'static Kernel,
    /// The workgroup's width and height in invocations, powers of two: the constants `GX` and `GY`.
    pub workgroup: [u32; 2],
}

impl Variant {
    /// The plain kernel with a workgroup of this width and height.
    pub const fn plain(gx: u32, gy: u32) -> Self {
        Self { kernel: &linear::KERNEL, workgroup: [gx, gy] }
    }

    /// What is taken where nothing is tuned: large tiles reuse more of what they load, and few tokens would
    /// leave most of a large tile empty.
    pub const fn built_in(tokens: usize) -> Self {
        match tokens {
            0..=16 => Self::plain(16, 2),
            17..=64 => Self::plain(8, 8),
            _ => Self::plain(16, 16),
        }
    }

    /// The tokens and outputs of a tile.
    pub fn tile(&self) -> [usize; 2] {
        let [gx, gy] = self.workgroup;
        [(TOKENS * gy) as usize, (OUTPUTS * gx) as usize]
    }

    /// Whether a device of these limits runs it.
    pub fn fits(&self, limits: &wgpu::Limits) -> bool {
        let [gx, gy] = self.workgroup;
        let staged = STAGED_BYTES * (TOKENS * gy + OUTPUTS * gx);
        gx <= limits.max_compute_workgroup_size_x
            && gy <= limits.max_compute_workgroup_size_y
            && gx * gy <= limits.max_compute_invocations_per_workgroup
            && staged <= limits.max_compute_workgroup_storage_size
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [gx, gy] = self.workgroup;
        write!(f, "{} {gx}x{gy}", self.kernel.name)
    }
}

/// What the tuner chooses from.
pub const CANDIDATES: &[Variant] = &[
    Variant::plain(16, 16),
    Variant::plain(32, 8),
    Variant::plain(16, 8),
    Variant::plain(8, 16),
    Variant::plain(8, 8),
    Variant::plain(16, 4),
    Variant::plain(16, 2),
    Variant::plain(32, 2),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_webgpus_limits_runs_the_built_in_variants_and_most_candidates() {
        let limits = wgpu::Limits::default();
        for tokens in [1, 16, 17, 64, 65, 100_000] {
            assert!(Variant::built_in(tokens).fits(&limits), "{tokens} tokens");
        }
        let fitting = CANDIDATES.iter().filter(|variant| variant.fits(&limits)).count();
        assert!(fitting >= 6, "{fitting}");
        assert!(!Variant::plain(32, 8).fits(&limits), "it stages 20 KiB");
    }

    #[test]
    fn candidates_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = CANDIDATES.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), CANDIDATES.len());
    }
}
