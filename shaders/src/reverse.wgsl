// out[r, c] = x[rows - 1 - r, cols - 1 - c], for a range of rows.

//!include each_element

struct Params {
    rows: u32,
    cols: u32,
    // The row of x in its panel that goes to the first row of out; the next ones are above it.
    x_row: u32,
    out_row: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const PER_INVOCATION = 8u;

fn elements() -> u32 {
    return p.rows * p.cols;
}

fn each_element(i: u32) {
    // One past the last element of x that is read.
    let end = (p.x_row + 1u) * p.cols;
    out[p.out_row * p.cols + i] = x[end - 1u - i];
}
