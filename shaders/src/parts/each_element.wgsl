// An invocation for every PER_INVOCATION elements, SIZE apart. The kernel declares PER_INVOCATION; `each_element`,
// what is done to one; and `elements`, how many there are.

//!include grid

const SIZE = 256u;
const PER_WORKGROUP = SIZE * PER_INVOCATION;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let first = number_of(workgroup, workgroups) * PER_WORKGROUP;
    // `first` is past the last element in the workgroups that folding added.
    let end = min(first + PER_WORKGROUP, elements());
    for (var i = first + invocation; i < end; i += SIZE) {
        each_element(i);
    }
}
