// What kernels for a few tokens share, of which a subgroup computes OUTPUTS outputs of all tokens at a time.

override GX: u32 = 128u;
// At most 8.
override TOKENS: u32 = 8u;
// 1, 2 or 4: more reuse what is loaded of x, fewer make work for more subgroups.
override OUTPUTS: u32 = 4u;

// A token's sums of OUTPUTS outputs from one on.
fn store_outputs(t: u32, out: u32, sums: vec4<f32>) {
    store(t, out, sums.x);
    if OUTPUTS > 1u { store(t, out + 1u, sums.y); }
    if OUTPUTS > 2u { store(t, out + 2u, sums.z); store(t, out + 3u, sums.w); }
}
