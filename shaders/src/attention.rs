//! Causal attention that streams over the keys.

use crate::{Access, Kernel};
use bytemuck::{Pod, Zeroable};

/// Bindings: q, k, v f32; tiles, [`Tile`]; out f32; state f32, two numbers for every query and head. A
/// workgroup for every tile and head.
///
/// Constants: `HEAD_DIM`, at most [`MAX_HEAD_DIM`]; `ALIGNED`, whether it is a multiple of 4.
pub const KERNEL: Kernel = Kernel {
    name: "attention",
    wgsl: include_str!("attention.wgsl"),
    bindings: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: size_of::<Params>() as u32,
};

/// Queries of a tile.
pub const TILE_QUERIES: usize = 64;

/// The most elements of a head.
pub const MAX_HEAD_DIM: usize = 256;

/// Up to [`TILE_QUERIES`] queries of a sequence.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Tile {
    /// The row of the first one.
    pub query_row: u32,
    /// How many.
    pub queries: u32,
    /// The row of the sequence's key at position 0.
    pub key_row: u32,
    /// The position of the first query.
    pub position: u32,
}

/// The kernel's parameters. A run takes the bound rows of queries and the bound rows of keys; runs over the
/// keys' panels follow one another in order.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Bound tiles.
    pub tiles: u32,
    /// Query heads.
    pub heads: u32,
    /// Query heads to a key head.
    pub group: u32,
    /// How many of the last keys a query sees.
    pub window: u32,
    /// What scores are multiplied with.
    pub scale: f32,
    /// The first bound row of q, out and state.
    pub q_first: u32,
    /// Bound rows of q, out and state.
    pub q_rows: u32,
    /// The first bound row of q in its panel.
    pub q_row: u32,
    /// The first bound row of out in its panel.
    pub out_row: u32,
    /// The first bound row of state in its panel.
    pub state_row: u32,
    /// The first bound row of k and v.
    pub k_first: u32,
    /// Bound rows of k and v.
    pub k_rows: u32,
    /// The first bound row of k in its panel.
    pub k_row: u32,
    /// The first bound row of v in its panel.
    pub v_row: u32,
}
