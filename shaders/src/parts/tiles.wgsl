// How products of matrices go through tiles of their result, and what they stage in workgroup memory.

// The row and the column of a tile. Bands of eight rows of tiles are walked column by column: what runs at the same
// time shares rows of the one operand and columns of the other in the caches.
fn tile_place(tile: u32, across: u32, down: u32) -> vec2<u32> {
    let band = tile / (8u * across);
    let band_rows = min(8u, down - 8u * band);
    let in_band = tile - band * 8u * across;
    return vec2(band * 8u + in_band % band_rows, in_band / band_rows);
}
