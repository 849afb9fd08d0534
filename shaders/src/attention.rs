//! Causal attention with grouped heads and a sliding window, over sequences laid end to end.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::{
    AttentionShape, Kernel, Span,
    parallel::{Disjoint, with_scratch},
    product::{Operand, product},
    simd::{LANES, exp, maximum, multiversion, pairwise},
    wgsl,
};

/// Bindings: q, k, v f32; tiles, [`Tile`]; out f32; state f32, two numbers for every query and head. A
/// workgroup for every tile and head.
///
/// Constants: `HEAD_DIM`, at most [`MAX_HEAD_DIM`]; `ALIGNED`, whether it is a multiple of 4.
pub const KERNEL: Kernel = wgsl::attention::KERNEL.with::<Params>();

/// Queries of a [`Tile`].
pub const QUERIES_PER_TILE: usize = 64;

/// The most elements of a head.
pub const MAX_HEAD_DIM: usize = 256;

/// Up to [`QUERIES_PER_TILE`] queries of a sequence.
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
    /// The factor of the scores.
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

/// A task's queries: many share what is packed of the keys and values; few keep all threads busy in short sequences.
const TILE_QUERIES: usize = 256;
const SHORT_TILE_QUERIES: usize = 64;

/// Sequences of fewer queries are short.
const LONG: usize = 768;

/// How many keys a task meets at a time: scores and sums then stay in the second-level cache, and both products are
/// large enough to run at full speed.
const TILE_KEYS: usize = 128;

/// Attention of every span for itself: q and out `[queries, heads · head_dim]`, k and v
/// `[keys, kv_heads · head_dim]`.
///
/// The softmax runs along with the blocks of keys (Milakov & Gimelshein, 1805.02867; Dao, 2307.08691), so
/// no matrix of queries × keys is ever held. Blocks that no query of a tile sees are skipped.
///
/// # Panics
/// A span reaches outside the slices or into another's queries, or the shapes do not fit.
pub fn cpu(q: &[f32], k: &[f32], v: &[f32], shape: &AttentionShape, spans: &[Span], out: &mut [f32]) {
    assert_eq!(q.len(), out.len(), "q and out are of the same shape");
    assert_eq!(k.len(), v.len(), "k and v are of the same shape");
    assert!(shape.heads.is_multiple_of(shape.kv_heads), "query heads share key heads evenly");
    let mut ranges: Vec<_> = spans.iter().map(|span| (span.query_start, span.queries)).collect();
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "spans share no queries");
    let mut tiles = Vec::new();
    for span in spans {
        assert!(span.queries <= span.keys, "every query is a key's position");
        let most = if span.queries < LONG { SHORT_TILE_QUERIES } else { TILE_QUERIES };
        for first in (0..span.queries).step_by(most) {
            tiles.push((span, first..span.queries.min(first + most)));
        }
    }
    let width = shape.heads * shape.head_dim;
    let out = Disjoint::new(out);
    (0..tiles.len() * shape.heads).into_par_iter().with_max_len(1).for_each(|task| {
        let (span, queries) = &tiles[task / shape.heads];
        let head = task % shape.heads;
        with_scratch(queries.len() * (TILE_KEYS + shape.head_dim), |scratch| {
            let (scores, sums) = scratch.split_at_mut(queries.len() * TILE_KEYS);
            let totals = tile(q, k, v, shape, span, head, queries.clone(), scores, sums);
            for row in 0..queries.len() {
                let start = (span.query_start + queries.start + row) * width + head * shape.head_dim;
                // SAFETY: this head of this query, which is this task's alone.
                let out = unsafe { out.slice(start, shape.head_dim) };
                let inverse = 1.0 / totals[row];
                for (out, sum) in out.iter_mut().zip(&sums[row * shape.head_dim..]) {
                    *out = sum * inverse;
                }
            }
        });
    });
}

/// One head of some queries. Leaves the weighted sums of the values in `sums` and returns the sums of
/// the weights, both relative to each row's greatest score.
fn tile(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    shape: &AttentionShape,
    span: &Span,
    head: usize,
    queries: std::ops::Range<usize>,
    scores: &mut [f32],
    sums: &mut [f32],
) -> [f32; TILE_QUERIES] {
    let AttentionShape { heads, kv_heads, head_dim, scale, window } = *shape;
    let (query_stride, key_stride) = (heads * head_dim, kv_heads * head_dim);
    let key_head = head / (heads / kv_heads) * head_dim;
    let q = &q[(span.query_start + queries.start) * query_stride..][..queries.len() * query_stride];
    let keys = span.key_start * key_stride..(span.key_start + span.keys) * key_stride;
    let (k, v) = (&k[keys.clone()], &v[keys]);

    // A query at position p sees the keys `oldest(p)..=p`.
    let oldest = |p: usize| (p + 1).saturating_sub(window.unwrap_or(usize::MAX));
    let first_position = span.keys - span.queries + queries.start;
    let end = first_position + queries.len();
    let mut greatest = [f32::NEG_INFINITY; TILE_QUERIES];
    let mut totals = [0.0; TILE_QUERIES];
    let sums = &mut sums[..queries.len() * head_dim];
    sums.fill(0.0);
    for first_key in (oldest(first_position)..end).step_by(TILE_KEYS) {
        let n = TILE_KEYS.min(end - first_key);
        // Queries before these see none of the keys yet, those behind none any more.
        let first_row = first_key.saturating_sub(first_position);
        let end_position = (first_key + n - 1).saturating_add(window.unwrap_or(usize::MAX));
        let rows = first_row..(end_position - first_position).min(queries.len());
        // SAFETY: the head's columns of these queries and keys; the scores are this call's own.
        unsafe {
            product(
                (rows.len(), n, head_dim),
                scale,
                Operand::rows(&q[rows.start * query_stride + head * head_dim..], query_stride),
                Operand::rows(&k[first_key * key_stride + key_head..], key_stride).t(),
                0.0,
                scores.as_mut_ptr(),
                TILE_KEYS,
            );
        }
        for row in rows.clone() {
            let position = first_position + row;
            let seen_start = oldest(position).clamp(first_key, first_key + n) - first_key;
            let seen_end = (position + 1).clamp(first_key, first_key + n) - first_key;
            let scores = &mut scores[(row - rows.start) * TILE_KEYS..][..n];
            scores[..seen_start].fill(0.0);
            scores[seen_end..].fill(0.0);
            let scores = &mut scores[seen_start..seen_end];
            let max = greatest[row].max(maximum(scores));
            totals[row] = if max > greatest[row] {
                let shrink = exp(greatest[row] - max);
                greatest[row] = max;
                scale_by(&mut sums[row * head_dim..][..head_dim], shrink);
                totals[row] * shrink + exponentials(scores, max)
            } else {
                totals[row] + exponentials(scores, max)
            };
        }
        // SAFETY: as above; the sums are this call's own.
        unsafe {
            product(
                (rows.len(), head_dim, n),
                1.0,
                Operand::rows(scores, TILE_KEYS),
                Operand::rows(&v[first_key * key_stride + key_head..], key_stride),
                1.0,
                sums[rows.start * head_dim..].as_mut_ptr(),
                head_dim,
            );
        }
    }
    totals
}

multiversion! {
    /// Turns every element into `e^(x − max)` and returns their sum.
    fn exponentials(x: &mut [f32], max: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        let (blocks, rest) = x.as_chunks_mut::<LANES>();
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *x = exp(*x - max);
                *lane += *x;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *x = exp(*x - max);
            *lane += *x;
        }
        pairwise(&mut lanes)
    }
}

multiversion! {
    fn scale_by(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}
