// Sets the bits of the `count` smallest scores of every row, clears all others. A workgroup for every row.

//!include each_row
//!include smallest_of_row

struct Params {
    rows: u32,
    cols: u32,
    count: u32,
    // The first row of the scores and the mask in their panels.
    scores_row: u32,
    mask_row: u32,
}

@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
var<immediate> p: Params;

fn each_row(row: u32, invocation: u32) {
    select_smallest(row, p.count, invocation);
}
