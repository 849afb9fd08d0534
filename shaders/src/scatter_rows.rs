//! Carries every row of a matrix to its own place in another.

use bytemuck::{Pod, Zeroable};

use crate::{Kernel, wgsl};

/// Bindings: x f32, places u32, out f32. A workgroup for every [`PER_WORKGROUP`] elements of x.
pub const KERNEL: Kernel = wgsl::scatter_rows::KERNEL.with::<Params>();

/// Elements that a workgroup takes.
pub const PER_WORKGROUP: usize = wgsl::scatter_rows::PER_WORKGROUP as usize;

/// The kernel's parameters.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Rows of x to carry.
    pub rows: u32,
    /// Elements of a row.
    pub cols: u32,
    /// The first row of x in its panel.
    pub x_row: u32,
    /// The first row of the places in their panel.
    pub places_row: u32,
    /// The first row of the panel of out.
    pub out_start: u32,
    /// Rows of the panel of out. Rows for other places are left to other runs.
    pub out_rows: u32,
}

/// `out[places[i]] = x[i]`, rows of `cols` elements.
///
/// # Panics
/// A place is beyond `out`, or the slices are not of fitting sizes.
pub fn cpu(x: &[f32], cols: usize, places: &[u32], out: &mut [f32]) {
    assert_eq!(x.len(), places.len() * cols, "a place for every row");
    if cols == 0 {
        return;
    }
    for (row, &place) in x.chunks_exact(cols).zip(places) {
        out[place as usize * cols..][..cols].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_go_to_their_places() {
        let x: Vec<f32> = (0..9).map(|i| i as f32).collect();
        let mut out = vec![-1.0; 15];
        super::cpu(&x, 3, &[4, 0, 2], &mut out);
        let expected = [3.0, 4.0, 5.0, -1.0, -1.0, -1.0, 6.0, 7.0, 8.0, -1.0, -1.0, -1.0, 0.0, 1.0, 2.0];
        assert_eq!(out, expected);
    }
}
