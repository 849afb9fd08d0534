// y[t, n] = Σ_k x[t, k] · w[n, k]  (+ bias[n]) (+ y[t, n])  with x and w rounded to f16
//
// The lines before these are the host's (see linear_cooperative.rs): they give SIDE and the types Left, Right and
// Sum of matrices of SIDE × SIDE, which a subgroup holds and multiplies together.
//
// A workgroup of SUBGROUPS subgroups, in ROWS rows, computes a tile of 4·SIDE·ROWS tokens ×
// 2·SIDE·SUBGROUPS/ROWS outputs, each subgroup 4 × 2 matrices. 32 columns of x and w at a time are rounded and
// staged in workgroup memory. If subgroups are of another size than SUBGROUPS makes them, nothing is written.

// 0: f32, 1: f16, 2: bf16
override W_DTYPE: u32 = 0u;
// What x and w are rounded to, in the same numbers: f16, or what is staged is rounded twice.
override COMPUTE: u32 = 1u;
// Whether k is a multiple of 4: rows of x and w then start at a whole vector.
override ALIGNED: bool = true;
override GX: u32 = 256u;
override SUBGROUPS: u32 = 8u;
override ROWS: u32 = 2u;

struct Params {
    tokens: u32,
    outs: u32,
    ins: u32,
    // The first row of x, w and y in their panels, and the column of y where w's first row goes.
    x_row: u32,
    w_row: u32,
    y_row: u32,
    y_col: u32,
    y_cols: u32,
    // Bit 0: add the bias. Bit 1: add to y. Bits 2 and 3: the bias's type, as W_DTYPE.
    flags: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

const DEPTH = 32u;
// Rows of a tile start at whole vectors of eight, in different banks.
const STRIDE = DEPTH + 8u;

var<workgroup> x_tile: array<f16, 4u * SIDE * ROWS * STRIDE>;
var<workgroup> w_tile: array<f16, 2u * SIDE * (SUBGROUPS / ROWS) * STRIDE>;
// A matrix of every subgroup, on its way to y.
var<workgroup> sums: array<f32, SUBGROUPS * SIDE * SIDE>;

fn widen_bf16(pair: u32) -> vec2<f32> {
    return vec2(bitcast<f32>(pair << 16u), bitcast<f32>(pair & 0xffff0000u));
}

// Integer arithmetic, because unpack2x16float may flush subnormals and is not on every adapter.
fn widen_f16(pair: u32) -> vec2<f32> {
    let bits = vec2(pair, pair >> 16u);
    let magnitude = bits & vec2(0x7fffu);
    let special = magnitude >= vec2(0x7c00u);
    let shifted = (magnitude << vec2(13u)) + select(vec2(0x38000000u), vec2(0x70000000u), special);
    // A subnormal is the fraction of 2^-14, without its implied one.
    let subnormal = bitcast<vec2<f32>>(shifted + vec2(0x00800000u)) - vec2(6.103515625e-05);
    let widened = select(bitcast<vec2<u32>>(subnormal), shifted, magnitude >= vec2(0x400u));
    return bitcast<vec2<f32>>(widened | ((bits & vec2(0x8000u)) << vec2(16u)));
}

// The nearest numbers of COMPUTE's type, ties to even.
fn round_bf16(bits: vec4<u32>) -> vec4<u32> {
    let upper = vec4(0xffff0000u);
    // Rounding could carry a NaN over into infinity or zero: it keeps its upper half and stays quiet.
    let nan = (bits & upper) | vec4(0x400000u);
    let nearest = (bits + vec4(0x7fffu) + ((bits >> vec4(16u)) & vec4(1u))) & upper;
    return select(nearest, nan, (bits & vec4(0x7fffffffu)) > vec4(0x7f800000u));
}

fn round_f16(bits: vec4<u32>) -> vec4<u32> {
    let magnitude = bits & vec4(0x7fffffffu);
    let is_normal = magnitude >= vec4(0x38800000u);
    let normal = (magnitude + vec4(0xfffu) + ((magnitude >> vec4(13u)) & vec4(1u))) & vec4(0xffffe000u);
    // A subnormal is a multiple of 2^-24.
    let small = bitcast<vec4<f32>>(select(magnitude, vec4(0u), is_normal));
    let subnormal = bitcast<vec4<u32>>(round(small * 16777216.0) * 5.9604644775390625e-08);
    var nearest = select(subnormal, normal, is_normal);
    // From 65,520 on: half a step past the largest number.
    nearest = select(nearest, vec4(0x7f800000u), magnitude >= vec4(0x477ff000u));
    nearest = select(nearest, magnitude, magnitude > vec4(0x7f800000u));
    return (bits & vec4(0x80000000u)) | nearest;
}

fn rounded(v: vec4<f32>) -> vec4<f32> {
    if COMPUTE == 1u {
        return bitcast<vec4<f32>>(round_f16(bitcast<vec4<u32>>(v)));
    }
    if COMPUTE == 2u {
        return bitcast<vec4<f32>>(round_bf16(bitcast<vec4<u32>>(v)));
    }
    return v;
}

fn x_scalar(index: u32) -> f32 {
    return x[index >> 2u][index & 3u];
}

fn w_scalar(index: u32) -> f32 {
    if W_DTYPE == 0u {
        return bitcast<f32>(w[index >> 1u][index & 1u]);
    }
    let pair = w[index >> 2u][(index >> 1u) & 1u];
    let widened = select(widen_bf16(pair), widen_f16(pair), W_DTYPE == 1u);
    return select(widened.x, widened.y, (index & 1u) == 1u);
}

// Four columns of a row from k on; zero beyond the last row or column.
fn load_x(token: u32, k: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if token >= p.tokens || k >= p.ins {
        return v;
    }
    let index = (p.x_row + token) * p.ins + k;
    if ALIGNED {
        return rounded(x[index >> 2u]);
    }
    v.x = x_scalar(index);
    if k + 1u < p.ins { v.y = x_scalar(index + 1u); }
    if k + 2u < p.ins { v.z = x_scalar(index + 2u); }
    if k + 3u < p.ins { v.w = x_scalar(index + 3u); }
    return rounded(v);
}

fn load_w(row: u32, k: u32) -> vec4<f32> {
    var v = vec4(0.0);
    if row >= p.outs || k >= p.ins {
        return v;
    }
    let index = (p.w_row + row) * p.ins + k;
    if ALIGNED {
        if W_DTYPE == 0u {
            return rounded(bitcast<vec4<f32>>(vec4(w[index >> 1u], w[(index >> 1u) + 1u])));
        }
        let packed = w[index >> 2u];
        if W_DTYPE == 1u {
            return rounded(vec4(widen_f16(packed.x), widen_f16(packed.y)));
        }
        return rounded(vec4(widen_bf16(packed.x), widen_bf16(packed.y)));
    }
    v.x = w_scalar(index);
    if k + 1u < p.ins { v.y = w_scalar(index + 1u); }
    if k + 2u < p.ins { v.z = w_scalar(index + 2u); }
    if k + 3u < p.ins { v.w = w_scalar(index + 3u); }
    return rounded(v);
}

fn load_bias(column: u32) -> f32 {
    let dtype = (p.flags >> 2u) & 3u;
    if dtype == 0u {
        return bitcast<f32>(bias[column]);
    }
    let pair = bias[column >> 1u];
    let widened = select(widen_bf16(pair), widen_f16(pair), dtype == 1u);
    return select(widened.x, widened.y, (column & 1u) == 1u);
}

fn store(token: u32, out: u32, value: f32) {
    if out >= p.outs {
        return;
    }
    let column = p.y_col + out;
    let index = (p.y_row + token) * p.y_cols + column;
    var sum = value;
    if (p.flags & 1u) != 0u { sum += load_bias(column); }
    if (p.flags & 2u) != 0u { sum += y[index]; }
    y[index] = sum;
}

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
    let tile = workgroup.x + workgroup.y * workgroups.x;
    if tile >= tiles_x * tiles_y {
        return;
    }
    // Bands of eight rows of tiles, walked column by column: what runs at the same time shares rows of
    // both x and w in the caches.
    let band = tile / (8u * tiles_x);
    let band_rows = min(8u, tiles_y - 8u * band);
    let in_band = tile - band * 8u * tiles_x;
    let first_token = (band * 8u + in_band % band_rows) * tile_tokens;
    let first_out = (in_band / band_rows) * tile_outs;

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
