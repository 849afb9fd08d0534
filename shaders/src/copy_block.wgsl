// Copies a rectangle of words of one matrix onto one of another.

//!include each_element

// Whether words above the diagonal become 0 instead.
override LOWER: bool = false;

struct Params {
    rows: u32,
    cols: u32,
    // Where the rectangles start in their panels, and how far apart their rows are, in words.
    x_start: u32,
    x_stride: u32,
    out_start: u32,
    out_stride: u32,
    // Above the diagonal are words of column c > r + diagonal.
    diagonal: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const PER_INVOCATION = 8u;

fn elements() -> u32 {
    return p.rows * p.cols;
}

fn each_element(i: u32) {
    let row = i / p.cols;
    let col = i - row * p.cols;
    var word = x[p.x_start + row * p.x_stride + col];
    if LOWER && col > row + p.diagonal {
        word = 0u;
    }
    out[p.out_start + row * p.out_stride + col] = word;
}
