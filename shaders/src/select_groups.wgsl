// Sets the bits of the n smallest of every m contiguous scores of a row, clears all others.
//
// A workgroup owns a tile: whole groups and whole words of one row. Ties go to the lower column.

//!include grid
//!include score_rows
//!include mask

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
    let index = number_of(workgroup, workgroups);
    if index >= tiles * p.rows {
        return;
    }
    let row = index / tiles;
    let first = (index % tiles) * p.tile;
    let columns = min(p.tile, p.cols - first);
    if invocation < TILE / 32u {
        atomicStore(&bits[invocation], 0u);
    }
    for (var i = invocation; i < columns; i += SIZE) {
        keys[i] = key(score(scores_start(row) + first + i, first + i));
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
    if invocation < (columns + 31u) / 32u {
        mask[mask_start(row) + first / 32u + invocation] = atomicLoad(&bits[invocation]);
    }
}
