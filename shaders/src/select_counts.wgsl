// Sets the bits of the smallest scores of every row, as many as its count says, clears all others. A workgroup for every row.

//!include each_row
//!include smallest_of_row

struct Params {
    rows: u32,
    cols: u32,
    // The first row of the scores, the counts and the mask in their panels.
    scores_row: u32,
    counts_row: u32,
    mask_row: u32,
}

@group(0) @binding(2) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read_write> mask: array<u32>;
var<immediate> p: Params;

var<workgroup> count: u32;

fn each_row(row: u32, invocation: u32) {
    if invocation == 0u {
        count = min(counts[p.counts_row + row], p.cols);
    }
    select_smallest(row, workgroupUniformLoad(&count), invocation);
}
