// y[t, n] = Σ_k x[t, k] · w[n, k]  (+ bias[n]) (+ y[t, n])
//
// A workgroup of GX × GY invocations computes a tile of 4·ROWS·GY tokens × 8·GX outputs, each invocation
// 4·ROWS × 8 of them in registers. Sixteen columns of x and w at a time are staged in workgroup memory,
// transposed, so that with two ROWS a step of k costs four vector loads for 64 multiply-adds.

// 0: f32, 1: f16, 2: bf16
override W_DTYPE: u32 = 0u;
// What x and w are rounded to, in the same numbers.
override COMPUTE: u32 = 0u;
// Whether k is a multiple of 4: rows of x and w then start at a whole vector.
override ALIGNED: bool = true;
override GX: u32 = 16u;
override GY: u32 = 16u;
// Groups of four tokens that an invocation computes: 1, for tiles of few tokens, or 2.
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

const DEPTH = 16u;

// [k][group of four rows], the group's number mixed with k: the four invocations that stage one group
// and those that read neighbouring groups then meet different banks.
var<workgroup> x_tile: array<vec4<f32>, DEPTH * ROWS * GY>;
var<workgroup> w_tile: array<vec4<f32>, DEPTH * 2u * GX>;

fn x_slot(k: u32, group: u32) -> u32 {
    let groups = ROWS * GY;
    return k * groups + (group ^ (((k >> 2u) << 1u) & (groups - 1u)));
}

fn w_slot(k: u32, group: u32) -> u32 {
    let groups = 2u * GX;
    return k * groups + (group ^ (((k >> 2u) << 1u) & (groups - 1u)));
}

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

fn store4(token: u32, out: u32, values: vec4<f32>) {
    if token >= p.tokens {
        return;
    }
    store(token, out, values.x);
    store(token, out + 1u, values.y);
    store(token, out + 2u, values.z);
    store(token, out + 3u, values.w);
}

@compute @workgroup_size(GX, GY)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let tiles_x = (p.outs + 8u * GX - 1u) / (8u * GX);
    let tiles_y = (p.tokens + 4u * ROWS * GY - 1u) / (4u * ROWS * GY);
    let tile = workgroup.x + workgroup.y * workgroups.x;
    if tile >= tiles_x * tiles_y {
        return;
    }
    // Bands of eight rows of tiles, walked column by column: what runs at the same time shares rows of
    // both x and w in the caches.
    let band = tile / (8u * tiles_x);
    let band_rows = min(8u, tiles_y - 8u * band);
    let in_band = tile - band * 8u * tiles_x;
    let first_token = (band * 8u + in_band % band_rows) * 4u * ROWS * GY;
    let first_out = (in_band / band_rows) * 8u * GX;

    var a0 = vec4(0.0); var a1 = vec4(0.0); var a2 = vec4(0.0); var a3 = vec4(0.0);
    var a4 = vec4(0.0); var a5 = vec4(0.0); var a6 = vec4(0.0); var a7 = vec4(0.0);
    var b0 = vec4(0.0); var b1 = vec4(0.0); var b2 = vec4(0.0); var b3 = vec4(0.0);
    var b4 = vec4(0.0); var b5 = vec4(0.0); var b6 = vec4(0.0); var b7 = vec4(0.0);

    for (var first_k = 0u; first_k < p.ins; first_k += DEPTH) {
        // Blocks of four rows by four columns; the first 4·ROWS·GY blocks are x's.
        for (var block = invocation; block < 4u * ROWS * GY + 8u * GX; block += GX * GY) {
            let is_x = block < 4u * ROWS * GY;
            let number = select(block - 4u * ROWS * GY, block, is_x);
            let k = (number & 3u) * 4u;
            let group = number >> 2u;
            var r0: vec4<f32>; var r1: vec4<f32>; var r2: vec4<f32>; var r3: vec4<f32>;
            if is_x {
                let row = first_token + group * 4u;
                r0 = load_x(row, first_k + k);
                r1 = load_x(row + 1u, first_k + k);
                r2 = load_x(row + 2u, first_k + k);
                r3 = load_x(row + 3u, first_k + k);
            } else {
                let row = first_out + group * 4u;
                r0 = load_w(row, first_k + k);
                r1 = load_w(row + 1u, first_k + k);
                r2 = load_w(row + 2u, first_k + k);
                r3 = load_w(row + 3u, first_k + k);
            }
            let t0 = vec4(r0.x, r1.x, r2.x, r3.x);
            let t1 = vec4(r0.y, r1.y, r2.y, r3.y);
            let t2 = vec4(r0.z, r1.z, r2.z, r3.z);
            let t3 = vec4(r0.w, r1.w, r2.w, r3.w);
            if is_x {
                x_tile[x_slot(k, group)] = t0;
                x_tile[x_slot(k + 1u, group)] = t1;
                x_tile[x_slot(k + 2u, group)] = t2;
                x_tile[x_slot(k + 3u, group)] = t3;
            } else {
                w_tile[w_slot(k, group)] = t0;
                w_tile[w_slot(k + 1u, group)] = t1;
                w_tile[w_slot(k + 2u, group)] = t2;
                w_tile[w_slot(k + 3u, group)] = t3;
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let x0 = x_tile[x_slot(k, local.y)];
            let w0 = w_tile[w_slot(k, local.x)];
            let w1 = w_tile[w_slot(k, local.x + GX)];
            a0 += x0.x * w0; b0 += x0.x * w1;
            a1 += x0.y * w0; b1 += x0.y * w1;
            a2 += x0.z * w0; b2 += x0.z * w1;
            a3 += x0.w * w0; b3 += x0.w * w1;
            if ROWS == 2u {
                let x1 = x_tile[x_slot(k, local.y + GY)];
                a4 += x1.x * w0; b4 += x1.x * w1;
                a5 += x1.y * w0; b5 += x1.y * w1;
                a6 += x1.z * w0; b6 += x1.z * w1;
                a7 += x1.w * w0; b7 += x1.w * w1;
            }
        }
        workgroupBarrier();
    }

    let token0 = first_token + local.y * 4u;
    let out0 = first_out + local.x * 4u;
    let out1 = out0 + 4u * GX;
    store4(token0, out0, a0); store4(token0, out1, b0);
    store4(token0 + 1u, out0, a1); store4(token0 + 1u, out1, b1);
    store4(token0 + 2u, out0, a2); store4(token0 + 2u, out1, b2);
    store4(token0 + 3u, out0, a3); store4(token0 + 3u, out1, b3);
    if ROWS == 1u {
        return;
    }
    let token1 = token0 + 4u * GY;
    store4(token1, out0, a4); store4(token1, out1, b4);
    store4(token1 + 1u, out0, a5); store4(token1 + 1u, out1, b5);
    store4(token1 + 2u, out0, a6); store4(token1 + 2u, out1, b6);
    store4(token1 + 3u, out0, a7); store4(token1 + 3u, out1, b7);
}
