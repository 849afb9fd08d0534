// out[i] = scale · f(x[i]) + shift.

//!include functions

// Whether nothing is scaled or shifted: the value then passes unchanged, -0 included.
override PLAIN: bool = false;

struct Params {
    count: u32,
    scale: f32,
    shift: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
var<immediate> p: Params;

const SIZE = 256u;
const PER_INVOCATION = 8u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let first = (workgroup.x + workgroup.y * workgroups.x) * SIZE * PER_INVOCATION;
    // `first` is past the last element in the workgroups that folding added.
    for (var i = first + invocation; i < min(first + SIZE * PER_INVOCATION, p.count); i += SIZE) {
        let value = f(x[i]);
        if PLAIN {
            out[i] = value;
        } else {
            out[i] = p.scale * value + p.shift;
        }
    }
}
