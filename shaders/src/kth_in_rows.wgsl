// The value at a place of the sorted scores of every row, digit by digit of eight bits. A workgroup for
// every row.

//!include each_row
//!include find_in_row

struct Params {
    rows: u32,
    cols: u32,
    // The place, from 0.
    place: u32,
    // The first row of the scores and of out in their panels.
    scores_row: u32,
    out_row: u32,
}

@group(0) @binding(2) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

fn each_row(row: u32, invocation: u32) {
    find_in_row(row, p.place, invocation);
    if invocation == 0u {
        out[p.out_row + row] = value(found);
    }
}
