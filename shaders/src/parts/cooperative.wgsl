// y[t, n] = Σ_k x[t, k] · w[n, k]  (+ bias[n]) (+ y[t, n])  with x and w rounded to f16
//
// The kernel declares SIDE and the types Left, Right and Sum of matrices of SIDE × SIDE, which a subgroup holds and
// multiplies together.
//
// A workgroup of SUBGROUPS subgroups, in ROWS rows, computes a tile of 4·SIDE·ROWS tokens ×
// 2·SIDE·SUBGROUPS/ROWS outputs, each subgroup 4 × 2 matrices. 32 columns of x and w at a time are rounded and
// staged in workgroup memory. If subgroups are of another size than SUBGROUPS makes them, nothing is written.

//!include tiles
//!include operands

override GX: u32 = 256u;
override SUBGROUPS: u32 = 8u;
override ROWS: u32 = 2u;

const DEPTH = 32u;
// Rows of a tile start at whole vectors of eight, in different banks.
const STRIDE = DEPTH + 8u;

var<workgroup> x_tile: array<f16, 4u * SIDE * ROWS * STRIDE>;
var<workgroup> w_tile: array<f16, 2u * SIDE * (SUBGROUPS / ROWS) * STRIDE>;
// A matrix of every subgroup, on its way to y.
var<workgroup> sums: array<f32, SUBGROUPS * SIDE * SIDE>;

// A subgroup's matrix of sums, whose first element is y[token, out]. Rows from tokens on are left out.
fn store_sums(first: u32, tokens: u32, token: u32, out: u32, lane: u32, lanes: u32) {
    for (var e = lane; e < SIDE * SIDE; e += lanes) {
        if token + e / SIDE < tokens {
            store(token + e / SIDE, out + e % SIDE, sums[first + e]);
        }
    }
}

@compute @workgroup_size(GX)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
    @builtin(subgroup_id) subgroup_id: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    let across = SUBGROUPS / ROWS;
    let tile_tokens = 4u * SIDE * ROWS;
    let tile_outs = 2u * SIDE * across;
    let tiles_x = (p.outs + tile_outs - 1u) / tile_outs;
    let tiles_y = (p.tokens + tile_tokens - 1u) / tile_tokens;
    // As `number_of`: naga takes what a function returns for different in every invocation, and wants no product of
    // matrices where only some may have returned.
    let tile = workgroup.x + workgroup.y * workgroups.x;
    if tile >= tiles_x * tiles_y {
        return;
    }
    let corner = tile_place(tile, tiles_x, tiles_y);
    let first_token = corner.x * tile_tokens;
    let first_out = corner.y * tile_outs;

    // More subgroups than there should be stay inside the tile, and write nothing at the end.
    let subgroup = subgroup_id % SUBGROUPS;
    let token = subgroup / across * 4u * SIDE;
    let out = subgroup % across * 2u * SIDE;
    let x_first = token * STRIDE;
    let w_first = out * STRIDE;
    let first_sum = subgroup * SIDE * SIDE;

    for (var e = invocation; e < SUBGROUPS * SIDE * SIDE; e += GX) {
        sums[e] = 0.0;
    }
    workgroupBarrier();
    let zero = coopLoadT<Sum>(&sums[first_sum], SIDE);
    var c00 = zero; var c01 = zero;
    var c10 = zero; var c11 = zero;
    var c20 = zero; var c21 = zero;
    var c30 = zero; var c31 = zero;

    for (var first_k = 0u; first_k < p.ins; first_k += DEPTH) {
        // Four columns of a row at a time; the first tile_tokens rows are x's.
        for (var block = invocation; block < (tile_tokens + tile_outs) * (DEPTH / 4u); block += GX) {
            let row = block / (DEPTH / 4u);
            let k = block % (DEPTH / 4u) * 4u;
            if row < tile_tokens {
                let v = vec4<f16>(load_x(first_token + row, first_k + k));
                let at = row * STRIDE + k;
                x_tile[at] = v.x;
                x_tile[at + 1u] = v.y;
                x_tile[at + 2u] = v.z;
                x_tile[at + 3u] = v.w;
            } else {
                let v = vec4<f16>(load_w(first_out + row - tile_tokens, first_k + k));
                let at = (row - tile_tokens) * STRIDE + k;
                w_tile[at] = v.x;
                w_tile[at + 1u] = v.y;
                w_tile[at + 2u] = v.z;
                w_tile[at + 3u] = v.w;
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k += SIDE) {
            let a0 = coopLoadT<Left>(&x_tile[x_first + k], STRIDE);
            let a1 = coopLoadT<Left>(&x_tile[x_first + SIDE * STRIDE + k], STRIDE);
            let a2 = coopLoadT<Left>(&x_tile[x_first + 2u * SIDE * STRIDE + k], STRIDE);
            let a3 = coopLoadT<Left>(&x_tile[x_first + 3u * SIDE * STRIDE + k], STRIDE);
            // Transposed: outputs are the rows of w.
            let b0 = coopLoad<Right>(&w_tile[w_first + k], STRIDE);
            let b1 = coopLoad<Right>(&w_tile[w_first + SIDE * STRIDE + k], STRIDE);
            c00 = coopMultiplyAdd(a0, b0, c00); c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10); c11 = coopMultiplyAdd(a1, b1, c11);
            c20 = coopMultiplyAdd(a2, b0, c20); c21 = coopMultiplyAdd(a2, b1, c21);
            c30 = coopMultiplyAdd(a3, b0, c30); c31 = coopMultiplyAdd(a3, b1, c31);
        }
        workgroupBarrier();
    }

    // The host's check of this kernel sees that nothing was written.
    let tokens = select(0u, p.tokens, subgroups == SUBGROUPS);
    // naga emits what coopStoreT is given only where it has a name.
    let to = &sums[first_sum];
    let side = SIDE;
    let s00 = c00;
    coopStoreT(s00, to, side);
    workgroupBarrier();
    store_sums(first_sum, tokens, first_token + token, first_out + out, lane, lanes);
    workgroupBarrier();
    let s01 = c01;
    coopStoreT(s01, to, side);
    workgroupBarrier();
    store_sums(first_sum, tokens, first_token + token, first_out + out + SIDE, lane, lanes);
    workgroupBarrier();
    let s10 = c10;
    coopStoreT(s10, to, side);
    workgroupBarrier();
    store_sums(first_sum, tokens, first_token + token + SIDE, first_out + out, lane, lanes);
    workgroupBarrier();
    let s11 = c11;
    coopStoreT(s11, to, side);
    workgroupBarrier();
    store_sums(first_sum, tokens, first_token + token + SIDE, first_out + out + SIDE, lane, lanes);
    workgroupBarrier();
    let s20 = c20;
    coopStoreT(s20, to, side);
    workgroupBarrier();
    store_sums(first_sum, tokens, first_token + token + 2u * SIDE, first_out + out, lane, lanes);
    workgroupBarrier();
    let s21 = c21;
    coopStoreT(s21, to, side);
    workgroupBarrier();
    store_sums(first_sum, tokens, first_token + token + 2u * SIDE, first_out + out + SIDE, lane, lanes);
    workgroupBarrier();
    let s30 = c30;
    coopStoreT(s30, to, side);
    workgroupBarrier();
    store_sums(first_sum, tokens, first_token + token + 3u * SIDE, first_out + out, lane, lanes);
    workgroupBarrier();
    let s31 = c31;
    coopStoreT(s31, to, side);
    workgroupBarrier();
    store_sums(first_sum, tokens, first_token + token + 3u * SIDE, first_out + out + SIDE, lane, lanes);
    workgroupBarrier();
}
