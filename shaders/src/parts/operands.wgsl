// What every kernel of a product with weights has: its bindings and parameters, x and w as they are loaded, widened
// and rounded, and y as it is stored.

//!include widen

// 0: f32, 1: f16, 2: bf16
override W_DTYPE: u32 = 0u;
// What x and w are rounded to, in the same numbers.
override COMPUTE: u32 = 0u;
// Whether k is a multiple of 4: rows of x and w then start at a whole vector.
override ALIGNED: bool = true;

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
    // Bit 0: add the bias. Bit 1: add to y. Bits 2 and 3: the bias's type, as W_DTYPE. Bit 4: multiply with the
    // silu of y.
    flags: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

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
    return widen(w[index >> 2u][(index >> 1u) & 1u], index, W_DTYPE);
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
    return widen(bias[column >> 1u], column, dtype);
}

// v / (1 + e^-v), of exponentials that cannot overflow.
fn silu(v: f32) -> f32 {
    let e = exp(-abs(v));
    return v * select(e, 1.0, v >= 0.0) / (1.0 + e);
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
    if (p.flags & 16u) != 0u { sum *= silu(y[index]); }
    y[index] = sum;
}
