// y[r, c] = x[r, c] / √(Σ_c x[r, c]² / cols + eps) · weight[c], a workgroup for every row.

//!include each_row
//!include sum
//!include widen

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

alias Value = f32;

fn load_weight(column: u32) -> f32 {
    if WEIGHT_DTYPE == 0u {
        return bitcast<f32>(weight[column]);
    }
    return widen(weight[column >> 1u], column, WEIGHT_DTYPE);
}

fn each_row(row: u32, invocation: u32) {
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
    let scale = 1.0 / sqrt(reduce(sum, invocation) / f32(p.cols) + p.eps);
    for (var c = invocation; c < p.cols; c += SIZE) {
        y[y_start + c] = x[x_start + c] * scale * load_weight(c);
    }
}
