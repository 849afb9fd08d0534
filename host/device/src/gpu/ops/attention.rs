//! Attention.

use crate::{
    AttentionShape, DType, DeviceError, Result, Span, Tensor,
    gpu::{Context, Dispatch, memory, panels, segments, sizes::size},
};
use espalier_shaders::attention::{KERNEL, MAX_HEAD_DIM, Params, QUERIES_PER_TILE, Tile};
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

/// [`Op::Attention`](crate::Op::Attention).
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
    let (heads, head_dim) = (shape.heads, shape.head_dim);
    if head_dim > MAX_HEAD_DIM {
        return Err(DeviceError::Invalid {
            operation: NAME,
            message: format!(
                "heads of {head_dim} elements; a GPU takes at most {MAX_HEAD_DIM}, so use --device cpu"
            ),
        });
    }
    let tiles = cache.get(context, spans)?;
    if tiles.rows() == 0 {
        return Ok(());
    }
    let state = memory::uninitialised(context, DType::F32, q.rows(), 2 * heads)?;
    let constants =
        [("HEAD_DIM", head_dim as f64), ("ALIGNED", f64::from(u8::from(head_dim.is_multiple_of(4))))];
    let tile_panels = panels(&tiles)?;
    let queries = [(panels(q)?, 0), (panels(out)?, 0), (panels(&state)?, 0)];
    for queries in segments(q.rows(), queries) {
        let [q_part, out_part, state_part] = &queries.parts;
        for keys in segments(k.rows(), [(panels(k)?, 0), (panels(v)?, 0)]) {
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

/// Cuts sequences into tiles, those with the most keys first: a long one that starts last would keep the
/// whole device waiting.
fn cut(spans: &[Span]) -> Result<Vec<Tile>> {
    let mut tiles = Vec::new();
    for span in spans {
        for start in (0..span.queries).step_by(QUERIES_PER_TILE) {
            tiles.push(Tile {
                query_row: size(NAME, span.query_start + start)?,
                queries: size(NAME, QUERIES_PER_TILE.min(span.queries - start))?,
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
