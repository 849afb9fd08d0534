// out[r, c] = x[rows - 1 - r, cols - 1 - c], for a range of rows.

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

const SIZE = 256u;
const PER_INVOCATION = 8u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let count = p.rows * p.cols;
    // One past the last element of x that is read.
    let end = (p.x_row + 1u) * p.cols;
    let first = (workgroup.x + workgroup.y * workgroups.x) * SIZE * PER_INVOCATION;
    for (var i = first + invocation; i < min(first + SIZE * PER_INVOCATION, count); i += SIZE) {
        out[p.out_row * p.cols + i] = x[end - 1u - i];
    }
}
