// A workgroup of SIZE invocations for every row. The kernel declares `each_row`, what is done to one, and the
// parameter `rows`.

//!include grid

const SIZE = 256u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = number_of(workgroup, workgroups);
    if row < p.rows {
        each_row(row, invocation);
    }
}
