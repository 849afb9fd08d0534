// Sets the bits of the n smallest of every m contiguous scores of a row, clears all others.
//
// A workgroup owns a tile: whole groups and whole words of one row. Ties go to the lower column.

//!include scores

struct Params {
    rows: u32,
    cols: u32,
    n: u32,
    m: u32,
    // Columns in a tile: a multiple of m and of 32, at most TILE.
    tile: u32,
    // The first row of the scores and the mask in their panels.
    scores_row: u32,
    mask_row: u32,
}

@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
var<immediate> p: Params;

const SIZE = 256u;
const TILE = 2048u;
var<workgroup> keys: array<u32, TILE>;
var<workgroup> bits: array<atomic<u32>, TILE / 32u>;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let tiles = (p.cols + p.tile - 1u) / p.tile;
    let index = workgroup.x + workgroup.y * workgroups.x;
    if index >= tiles * p.rows {
        return;
    }
    let row = index / tiles;
    let first = (index % tiles) * p.tile;
    let columns = min(p.tile, p.cols - first);
    let words = (columns + 31u) / 32u;
    if invocation < TILE / 32u {
        atomicStore(&bits[invocation], 0u);
    }
    for (var i = invocation; i < columns; i += SIZE) {
        keys[i] = key(score((p.scores_row + row) * p.cols + first + i, first + i));
    }
    workgroupBarrier();
    for (var i = invocation; i < columns; i += SIZE) {
        let own = keys[i];
        let group = i - i % p.m;
        var rank = 0u;
        for (var j = group; j < group + p.m; j++) {
            let other = keys[j];
            rank += u32(other < own || (other == own && j < i));
        }
        if rank < p.n {
            atomicOr(&bits[i / 32u], 1u << (i % 32u));
        }
    }
    workgroupBarrier();
    if invocation < words {
        let row_words = (p.cols + 31u) / 32u;
        mask[(p.mask_row + row) * row_words + first / 32u + invocation] = atomicLoad(&bits[invocation]);
    }
}
