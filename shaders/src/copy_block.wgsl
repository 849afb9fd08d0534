// Copies a rectangle of words of one matrix onto one of another.

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

const SIZE = 256u;
const PER_INVOCATION = 8u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let count = p.rows * p.cols;
    let first = (workgroup.x + workgroup.y * workgroups.x) * SIZE * PER_INVOCATION;
    for (var i = first + invocation; i < min(first + SIZE * PER_INVOCATION, count); i += SIZE) {
        let row = i / p.cols;
        let col = i - row * p.cols;
        var word = x[p.x_start + row * p.x_stride + col];
        if LOWER && col > row + p.diagonal {
            word = 0u;
        }
        out[p.out_start + row * p.out_stride + col] = word;
    }
}
