// x[r, c] = +0 where bit c of row r of the mask is set.

//!include each_element
//!include mask

struct Params {
    count: u32,
    cols: u32,
    // The first row of the mask and x in their panels.
    mask_row: u32,
    x_row: u32,
}

@group(0) @binding(0) var<storage, read> mask: array<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
var<immediate> p: Params;

const PER_INVOCATION = 8u;

fn elements() -> u32 {
    return p.count;
}

fn each_element(i: u32) {
    let row = i / p.cols;
    let column = i - row * p.cols;
    let word = mask[mask_start(row) + column / 32u];
    if ((word >> (column % 32u)) & 1u) == 1u {
        x[p.x_row * p.cols + i] = 0.0;
    }
}
