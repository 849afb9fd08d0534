// x[r, c] = +0 where bit c of row r of the mask is set.

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

const SIZE = 256u;
const PER_INVOCATION = 8u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let words = (p.cols + 31u) / 32u;
    let first = (workgroup.x + workgroup.y * workgroups.x) * SIZE * PER_INVOCATION;
    // `first` is past the last element in the workgroups that folding added.
    for (var i = first + invocation; i < min(first + SIZE * PER_INVOCATION, p.count); i += SIZE) {
        let row = i / p.cols;
        let column = i - row * p.cols;
        let word = mask[(p.mask_row + row) * words + column / 32u];
        if ((word >> (column % 32u)) & 1u) == 1u {
            x[p.x_row * p.cols + i] = 0.0;
        }
    }
}
