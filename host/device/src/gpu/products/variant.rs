//! The kernels and tiles that a product may be computed with.

use super::class::{Class, Kind};
use espalier_shaders::{
    COOPERATIVE_KERNELS, Kernel, SUBGROUP_KERNELS, linear, linear_cooperative, linear_few, linear_packed,
    matmul,
};
use std::fmt;

/// A kernel for products and the tile that a workgroup computes.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The plain kernel of the same operation, [`linear::KERNEL`] or [`matmul::KERNEL`].
    pub plain: &'static Kernel,
    /// The kernel: its bindings and parameters are the plain one's, as are the constants that say what is multiplied.
    pub kernel: &'static Kernel,
    /// Its other constants.
    pub constants: [(&'static str, u32); 3],
    /// The most rows and columns of the result that a workgroup computes: of linear layers, tokens and outputs.
    pub tile: [u32; 2],
    /// The workgroup's width and height in invocations.
    pub workgroup: [u32; 2],
    /// Bytes that a workgroup shares.
    pub workgroup_memory: u32,
}

impl Variant {
    /// The plain kernel of linear layers with a workgroup of this width and height, powers of two, whose invocations
    /// compute `4 · rows` tokens each.
    pub const fn linear(gx: u32, gy: u32, rows: u32) -> Self {
        let tile = [linear::TOKENS * rows * gy, linear::OUTPUTS * gx];
        Self {
            plain: &linear::KERNEL,
            kernel: &linear::KERNEL,
            constants: [("GX", gx), ("GY", gy), ("ROWS", rows)],
            tile,
            workgroup: [gx, gy],
            workgroup_memory: linear::STAGED_BYTES * (tile[0] + tile[1]),
        }
    }

    /// The kernel of rectangles with a workgroup of this width and height, powers of two, that stages `depth` steps, a
    /// multiple of four, at a time.
    pub const fn matmul(gx: u32, gy: u32, depth: u32) -> Self {
        let tile = [matmul::SIDE * gy, matmul::SIDE * gx];
        Self {
            plain: &matmul::KERNEL,
            kernel: &matmul::KERNEL,
            constants: [("GX", gx), ("GY", gy), ("DEPTH", depth)],
            tile,
            workgroup: [gx, gy],
            workgroup_memory: size_of::<f32>() as u32 * depth * (tile[0] + tile[1]),
        }
    }

    /// The variant for so many tokens where nothing is tuned: large tiles reuse more of what they load, and few tokens
    /// would leave most of a large tile empty.
    pub const fn built_in_linear(tokens: usize) -> Self {
        match tokens {
            0..=16 => Self::linear(16, 2, 2),
            17..=64 => Self::linear(8, 8, 2),
            _ => Self::linear(16, 16, 2),
        }
    }

    /// The variant for a result of so many rows and columns where nothing is tuned: few large tiles would leave most of
    /// a GPU idle.
    pub const fn built_in_matmul(rows: usize, cols: usize) -> Self {
        const ENOUGH: usize = 64;
        let large = Self::matmul(16, 16, 16);
        let [tile_rows, tile_cols] = large.tile;
        match rows.div_ceil(tile_rows as usize) * cols.div_ceil(tile_cols as usize) >= ENOUGH {
            true => large,
            false => Self::matmul(8, 8, 16),
        }
    }

    /// The variant for a class where nothing is tuned.
    pub(in crate::gpu) fn built_in(class: &Class) -> Self {
        match class.kind {
            Kind::Linear { .. } => Self::built_in_linear(class.rows()),
            Kind::Matmul { .. } => Self::built_in_matmul(class.rows(), class.cols()),
        }
    }

    /// Whether it computes products of this class, and its tiles would not be mostly empty beside the built-in
    /// variant's.
    pub(in crate::gpu) fn suits(&self, class: &Class) -> bool {
        let built_in = Self::built_in(class);
        let sizes = [class.rows(), class.cols()].into_iter().zip(built_in.tile);
        self.plain.name == built_in.plain.name
            && sizes
                .zip(self.tile)
                .all(|((size, built_in), tile)| tile as usize <= 2 * size.max(built_in as usize))
    }

    /// The kernel of subgroups, if these tokens are few enough for it.
    pub(in crate::gpu) fn few(tokens: usize, outputs: usize, subgroup_size: [u32; 2]) -> Option<Self> {
        let [least, most] = subgroup_size;
        if tokens > linear_few::MOST_TOKENS || least < 4 || most > linear_few::WORKGROUP {
            return None;
        }
        let tokens = tokens.next_power_of_two() as u32;
        // Thousands of subgroups fill a GPU.
        let each = match outputs {
            0..=2048 => 1,
            2049..=8192 => 2,
            _ => 4,
        };
        // At least so many subgroups; with more, each has less to do.
        let subgroups = linear_few::WORKGROUP / most;
        Some(Self {
            plain: &linear::KERNEL,
            kernel: &linear_few::KERNEL,
            constants: [("GX", linear_few::WORKGROUP), ("TOKENS", tokens), ("OUTPUTS", each)],
            tile: [tokens, each * subgroups],
            workgroup: [linear_few::WORKGROUP, 1],
            workgroup_memory: 0,
        })
    }

    /// The same of weights without their zeros, for the kernel of subgroups.
    pub(in crate::gpu) fn packed(&self) -> Option<Self> {
        (self.kernel.name == linear_few::KERNEL.name)
            .then_some(Self { kernel: &linear_packed::KERNEL, ..*self })
    }

    /// The kernels of small matrices of `side` × `side`, where subgroups are of these sizes. Where they may be of
    /// several, a kernel that assumes the wrong one writes nothing, and is refused.
    pub(in crate::gpu) fn cooperative(side: u32, [least, most]: [u32; 2]) -> Vec<Self> {
        let kernel = match side {
            16 => &linear_cooperative::KERNEL_16,
            _ => &linear_cooperative::KERNEL_8,
        };
        let variant = |size: u32, rows: u32| {
            let subgroups = if size <= 32 { 8 } else { 4 };
            Self {
                plain: &linear::KERNEL,
                kernel,
                constants: [("GX", subgroups * size), ("SUBGROUPS", subgroups), ("ROWS", rows)],
                tile: linear_cooperative::tile(side, subgroups, rows),
                workgroup: [subgroups * size, 1],
                workgroup_memory: linear_cooperative::workgroup_memory(side, subgroups, rows),
            }
        };
        let sizes = match least == most {
            true => vec![least],
            // Of the makers whose GPUs have such matrices, none has subgroups of another size for them.
            false => [32, 64].into_iter().filter(|size| (least..=most).contains(size)).collect(),
        };
        sizes.into_iter().flat_map(|size| [variant(size, 2), variant(size, 1)]).collect()
    }

    /// How exactly its result is the plain kernel's.
    pub(in crate::gpu) fn agreement(&self) -> Agreement {
        let reorders = [SUBGROUP_KERNELS, COOPERATIVE_KERNELS].into_iter().flatten();
        match reorders.into_iter().any(|kernel| kernel.name == self.kernel.name) {
            true => Agreement::Reordered,
            false => Agreement::Exact,
        }
    }

    /// Whether a device of these limits runs it.
    pub fn fits(&self, limits: &wgpu::Limits) -> bool {
        let [width, height] = self.workgroup;
        width <= limits.max_compute_workgroup_size_x
            && height <= limits.max_compute_workgroup_size_y
            && width * height <= limits.max_compute_invocations_per_workgroup
            && self.workgroup_memory <= limits.max_compute_workgroup_storage_size
    }
}

/// How far a result may be from the plain kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gpu) enum Agreement {
    /// Nowhere: it adds the same products up in the same order.
    Exact,
    /// It adds them up in another order. Operands are numbers from -1 to 1, so that no sum of `inputs` products
    /// is off by more than `inputs · 1e-6` of rounding, of which some bits more than f32's are left out by
    /// hardware for small matrices; one product that is missing is ten times that as a rule.
    Reordered,
}

impl Agreement {
    /// Whether one element of a result of `inputs` products is as it should be.
    pub(in crate::gpu) fn holds(self, got: f32, expected: f32, inputs: usize) -> bool {
        match self {
            Self::Exact => got.to_bits() == expected.to_bits(),
            // Two for the bias and what was there. NaN is within nothing.
            Self::Reordered => (got - expected).abs() <= (inputs + 2) as f32 * 1e-6,
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kernel.name)?;
        self.constants.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// The variants that the tuner chooses from.
pub const CANDIDATES: &[Variant] = &[
    Variant::linear(16, 16, 2),
    Variant::linear(32, 8, 2),
    Variant::linear(16, 8, 2),
    Variant::linear(8, 16, 2),
    Variant::linear(8, 8, 2),
    Variant::linear(16, 4, 2),
    Variant::linear(16, 2, 2),
    Variant::linear(16, 16, 1),
    Variant::linear(8, 8, 1),
    Variant::linear(16, 4, 1),
    Variant::linear(32, 2, 1),
    Variant::matmul(16, 16, 16),
    Variant::matmul(16, 16, 8),
    Variant::matmul(32, 8, 8),
    Variant::matmul(8, 32, 8),
    Variant::matmul(16, 8, 16),
    Variant::matmul(8, 16, 16),
    Variant::matmul(8, 8, 16),
    Variant::matmul(8, 8, 32),
    Variant::matmul(8, 4, 32),
    Variant::matmul(4, 8, 32),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_webgpus_limits_runs_the_built_in_variants_and_most_candidates() {
        let limits = wgpu::Limits::default();
        for tokens in [1, 16, 17, 64, 65, 100_000] {
            assert!(Variant::built_in_linear(tokens).fits(&limits), "{tokens} tokens");
            assert!(Variant::built_in_matmul(tokens, tokens).fits(&limits), "{tokens} squared");
        }
        let unfit = CANDIDATES.iter().filter(|variant| !variant.fits(&limits)).map(ToString::to_string);
        // Their tiles of 256 outputs take more than 16 KiB.
        assert_eq!(unfit.collect::<Vec<_>>(), ["linear GX=32 GY=8 ROWS=2", "linear GX=32 GY=2 ROWS=1"]);
    }

    #[test]
    fn candidates_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = CANDIDATES.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), CANDIDATES.len());
        assert!(names.contains("linear GX=16 GY=4 ROWS=1"));
    }

    #[test]
    fn small_matrices_are_of_the_adapters_size_and_fit_its_memory() {
        let variants = |side, sizes| -> Vec<_> {
            Variant::cooperative(side, sizes)
                .iter()
                .map(|v| (v.tile, v.workgroup_memory <= 34 << 10))
                .collect()
        };
        assert_eq!(variants(16, [32, 32]), [([128, 128], true), ([64, 256], true)]);
        assert_eq!(variants(16, [32, 64]).len(), 4);
        assert_eq!(variants(8, [4, 64])[2..], [([64, 32], true), ([32, 64], true)]);
        assert_eq!(variants(8, [8, 8]), [([64, 64], true), ([32, 128], true)]);
    }

    #[test]
    fn few_tokens_are_at_most_eight_on_subgroups_that_fit_a_workgroup() {
        let tile = |tokens, sizes| Variant::few(tokens, 4096, sizes).map(|variant| variant.tile);
        assert_eq!(tile(1, [32, 32]), Some([1, 8]));
        assert_eq!(tile(3, [8, 32]), Some([4, 8]));
        assert_eq!(tile(8, [4, 128]), Some([8, 2]));
        assert_eq!(tile(9, [32, 32]), None);
        assert_eq!(tile(1, [1, 1]), None);
    }
}
