// gate[i] = silu(gate[i]) · up[i], in place.

struct Params {
    count: u32,
    gate_start: u32,
    up_start: u32,
}

@group(0) @binding(0) var<storage, read_write> gate: array<f32>;
@group(0) @binding(1) var<storage, read> up: array<f32>;
var<immediate> p: Params;

const SIZE = 256u;
const EACH = 4u;

// x / (1 + e^-x), of exponentials that cannot overflow.
fn silu(x: f32) -> f32 {
    let e = exp(-abs(x));
    return x * select(e, 1.0, x >= 0.0) / (1.0 + e);
}

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let first = (workgroup.x + workgroup.y * workgroups.x) * SIZE * EACH + invocation;
    for (var j = 0u; j < EACH; j++) {
        let i = first + j * SIZE;
        if i < p.count {
            let index = p.gate_start + i;
            gate[index] = silu(gate[index]) * up[p.up_start + i];
        }
    }
}
