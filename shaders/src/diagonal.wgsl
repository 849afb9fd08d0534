// Takes a square matrix's diagonal out, or adds to it, for a range of its rows.

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

const SIZE = 256u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let i = (workgroup.x + workgroup.y * workgroups.x) * SIZE + invocation;
    if i >= p.rows {
        return;
    }
    let place = (p.row + i) * p.cols + p.first + i;
    if ADD {
        sink[place] += source[p.first + i];
    } else {
        sink[p.first + i] = source[place];
    }
}
