// Takes a square matrix's diagonal out, or adds to it, for a range of its rows.

//!include each_element

// Whether to add: binding 0 is then the diagonal and binding 1 the matrix, otherwise the other way round.
override ADD: bool = false;

struct Params {
    rows: u32,
    cols: u32,
    // The first row, and where it is in the matrix's panel.
    first: u32,
    row: u32,
}

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> sink: array<f32>;
var<immediate> p: Params;

const PER_INVOCATION = 1u;

fn elements() -> u32 {
    return p.rows;
}

fn each_element(i: u32) {
    let place = (p.row + i) * p.cols + p.first + i;
    if ADD {
        sink[place] += source[p.first + i];
    } else {
        sink[p.first + i] = source[place];
    }
}
