// y[r, c] = x[r, c] / √(Σ_c x[r, c]² / cols + eps) · weight[c], a workgroup for every row.

// 0: f32, 1: f16, 2: bf16
override WEIGHT_DTYPE: u32 = 0u;

struct Params {
    rows: u32,
    cols: u32,
    x_row: u32,
    y_row: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

const SIZE = 256u;
var<workgroup> sums: array<f32, SIZE>;

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

fn load_weight(column: u32) -> f32 {
    if WEIGHT_DTYPE == 0u {
        return bitcast<f32>(weight[column]);
    }
    let pair = weight[column >> 1u];
    if WEIGHT_DTYPE == 1u {
        let widened = widen_f16(pair);
        return select(widened.x, widened.y, (column & 1u) == 1u);
    }
    return bitcast<f32>(select(pair << 16u, pair & 0xffff0000u, (column & 1u) == 1u));
}

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = workgroup.x + workgroup.y * workgroups.x;
    if row >= p.rows {
        return;
    }
    let x_start = (p.x_row + row) * p.cols;
    let y_start = (p.y_row + row) * p.cols;

    // Four partial sums keep loads in flight and shorten the chain of additions.
    var partial = vec4(0.0);
    var column = invocation;
    for (; column + 3u * SIZE < p.cols; column += 4u * SIZE) {
        let i = x_start + column;
        let v = vec4(x[i], x[i + SIZE], x[i + 2u * SIZE], x[i + 3u * SIZE]);
        partial += v * v;
    }
    var sum = (partial.x + partial.y) + (partial.z + partial.w);
    for (; column < p.cols; column += SIZE) {
        let v = x[x_start + column];
        sum += v * v;
    }
    sums[invocation] = sum;
    workgroupBarrier();
    for (var half = SIZE / 2u; half > 0u; half >>= 1u) {
        if invocation < half {
            sums[invocation] += sums[invocation + half];
        }
        workgroupBarrier();
    }
    let scale = 1.0 / sqrt(sums[0] / f32(p.cols) + p.eps);
    for (var c = invocation; c < p.cols; c += SIZE) {
        y[y_start + c] = x[x_start + c] * scale * load_weight(c);
    }
}
