// y[t, n] = Σ_k x[t, k] · w[n, k]  (+ bias[n]) (+ y[t, n])  for at most TOKENS tokens.
//
// With so few tokens reading w sets the pace, so it is read once and in order. A subgroup of any size computes
// OUTPUTS outputs of all tokens: its invocations read neighbouring columns, each adds its own ones up in
// registers, and the subgroup adds those.

//!include grid
//!include operands
//!include few

@compute @workgroup_size(GX)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    let number = number_of(workgroup, workgroups) * subgroups + subgroup;
    // The host does not know how many subgroups a workgroup has: each goes on with the outputs that are left.
    let step = OUTPUTS * workgroups.x * workgroups.y * subgroups;
    for (var out = OUTPUTS * number; out < p.outs; out += step) {
        // Of every output, by token.
        var sums = array<vec4<f32>, 8>();
        for (var k = 4u * lane; k < p.ins; k += 4u * lanes) {
            let w0 = load_w(out, k);
            var w1: vec4<f32>; var w2: vec4<f32>; var w3: vec4<f32>;
            if OUTPUTS > 1u { w1 = load_w(out + 1u, k); }
            if OUTPUTS > 2u { w2 = load_w(out + 2u, k); w3 = load_w(out + 3u, k); }
            for (var t = 0u; t < TOKENS; t++) {
                let v = load_x(t, k);
                sums[t].x += dot(v, w0);
                if OUTPUTS > 1u { sums[t].y += dot(v, w1); }
                if OUTPUTS > 2u { sums[t].z += dot(v, w2); sums[t].w += dot(v, w3); }
            }
        }
        for (var t = 0u; t < TOKENS; t++) {
            let sum = subgroupAdd(sums[t]);
            if lane == t % lanes && t < p.tokens { store_outputs(t, out, sum); }
        }
    }
}
