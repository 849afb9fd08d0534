//! Attention.

use super::{memory, size};
use crate::device::{
    AttentionShape, DType, DeviceError, Result, Span, Tensor,
    gpu::{Context, Dispatch, panels, segments},
};
use espalier_shaders::attention::{KERNEL, MAX_HEAD_DIM, Params, TILE_QUERIES, Tile};
use std::sync::{Arc, Mutex, PoisonError};

const NAME: &str = "attention";

/// The tiles of the last batch, which all layers of a model have in common.
#[derive(Debug, Default)]
pub struct TileCache(Mutex<Option<(Vec<Span>, Arc<Tensor>)>>);

impl TileCache {
    fn get(&self, context: &Context, spans: &[Span]) -> Result<Arc<Tensor>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, tiles)) = &*last
            && of == spans
        {
            return Ok(tiles.clone());
        }
        let tiles = cut(spans)?;
        let uploaded =
            memory::upload(context, DType::U32, tiles.len(), TILE_WORDS, bytemuck::cast_slice(&tiles))?;
        let uploaded = Arc::new(uploaded);
        *last = Some((spans.to_vec(), uploaded.clone()));
        Ok(uploaded)
    }
}

const TILE_WORDS: usize = size_of::<Tile>() / size_of::<u32>();

/// As [`Device::attention`](crate::device::Device::attention).
pub fn attention(
    context: &Context,
    cache: &TileCache,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    spans: &[Span],
    out: &mut Tensor,
) -> Result<()> {
    check(q, k, v, shape, spans, out)?;
    let tiles = cache.get(context, spans)?;
    if tiles.rows() == 0 || shape.heads == 0 {
        return Ok(());
    }
    let (heads, head_dim) = (shape.heads, shape.head_dim);
    let state = memory::uninitialised(context, DType::F32, q.rows(), 2 * heads)?;
    let constants =
        [("HEAD_DIM", head_dim as f64), ("ALIGNED", f64::from(u8::from(head_dim.is_multiple_of(4))))];
    let tile_panels = panels(NAME, &tiles)?;
    let queries = [(panels(NAME, q)?, 0), (panels(NAME, out)?, 0), (panels(NAME, &state)?, 0)];
    for queries in segments(q.rows(), queries) {
        let [q_part, out_part, state_part] = &queries.parts;
        for keys in segments(k.rows(), [(panels(NAME, k)?, 0), (panels(NAME, v)?, 0)]) {
            let [k_part, v_part] = &keys.parts;
            for panel in 0..tile_panels.count() {
                let count = tile_panels.panel_rows(panel).len();
                let params = Params {
                    tiles: size(NAME, count)?,
                    heads: size(NAME, heads)?,
                    group: size(NAME, heads / shape.kv_heads)?,
                    // No sequence is that long.
                    window: shape.window.map_or(Ok(u32::MAX), |window| size(NAME, window))?,
                    scale: shape.scale,
                    q_first: size(NAME, queries.rows.start)?,
                    q_rows: size(NAME, queries.rows.len())?,
                    q_row: size(NAME, q_part.row)?,
                    out_row: size(NAME, out_part.row)?,
                    state_row: size(NAME, state_part.row)?,
                    k_first: size(NAME, keys.rows.start)?,
                    k_rows: size(NAME, keys.rows.len())?,
                    k_row: size(NAME, k_part.row)?,
                    v_row: size(NAME, v_part.row)?,
                };
                context.dispatch(&Dispatch {
                    kernel: &KERNEL,
                    constants: &constants,
                    bindings: &[
                        q_part.binding.clone(),
                        k_part.binding.clone(),
                        v_part.binding.clone(),
                        tile_panels.binding(panel),
                        out_part.binding.clone(),
                        state_part.binding.clone(),
                    ],
                    params: bytemuck::bytes_of(&params),
                    workgroups: (count * heads) as u64,
                })?;
            }
        }
    }
    Ok(())
}

fn check(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    spans: &[Span],
    out: &Tensor,
) -> Result<()> {
    let &AttentionShape { heads, kv_heads, head_dim, window, .. } = shape;
    for tensor in [q, k, v, out] {
        tensor.expect_dtype(NAME, &[DType::F32])?;
    }
    let invalid = |message| Err(DeviceError::Invalid { operation: NAME, message });
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return invalid(format!("{heads} query heads do not share {kv_heads} key heads evenly"));
    }
    if head_dim == 0 || head_dim > MAX_HEAD_DIM {
        return invalid(format!(
            "heads of {head_dim} elements; on a GPU they have 1 to {MAX_HEAD_DIM} (use --device cpu)"
        ));
    }
    if window == Some(0) {
        return invalid("a window of no keys".to_owned());
    }
    q.expect_shape(NAME, q.rows(), heads * head_dim)?;
    out.expect_shape(NAME, q.rows(), heads * head_dim)?;
    k.expect_shape(NAME, k.rows(), kv_heads * head_dim)?;
    v.expect_shape(NAME, k.rows(), kv_heads * head_dim)?;
    for span in spans {
        let fits =
            |start: usize, count: usize, rows: usize| start.checked_add(count).is_some_and(|end| end <= rows);
        if span.queries > span.keys
            || !fits(span.query_start, span.queries, q.rows())
            || !fits(span.key_start, span.keys, k.rows())
        {
            return invalid(format!(
                "{span:?} does not lie within {} rows of queries and {} rows of keys",
                q.rows(),
                k.rows()
            ));
        }
    }
    Ok(())
}

/// Cuts sequences into tiles, those with the most keys first: a long one that starts last would keep the
/// whole device waiting.
fn cut(spans: &[Span]) -> Result<Vec<Tile>> {
    let mut tiles = Vec::new();
    for span in spans {
        for start in (0..span.queries).step_by(TILE_QUERIES) {
            tiles.push(Tile {
                query_row: size(NAME, span.query_start + start)?,
                queries: size(NAME, TILE_QUERIES.min(span.queries - start))?,
                key_row: size(NAME, span.key_start)?,
                position: size(NAME, span.keys - span.queries + start)?,
            });
        }
    }
    // Stable, so always the same order.
    tiles.sort_by_key(|tile| std::cmp::Reverse(tile.position));
    Ok(tiles)
}

#[cfg(test)]
mod tests {
    use super::{Span, cut};

    #[test]
    fn sequences_are_cut_into_tiles() {
        let spans = [
            Span { query_start: 0, queries: 70, key_start: 0, keys: 70 },
            Span { query_start: 70, queries: 0, key_start: 70, keys: 9 },
            Span { query_start: 70, queries: 1, key_start: 79, keys: 100 },
        ];
        let tiles: Vec<_> = cut(&spans)
            .expect("small numbers")
            .iter()
            .map(|tile| [tile.query_row, tile.queries, tile.key_row, tile.position])
            .collect();
        assert_eq!(tiles, [[70, 1, 79, 99], [64, 6, 0, 64], [0, 64, 0, 0]]);
    }
}
