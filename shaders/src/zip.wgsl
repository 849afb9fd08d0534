// out[r, c] = f(a[r, c]) ∘ (alpha · b), where b is [r, c], [c], [r] or a number.

//!include each_element
//!include functions
//!include repeat

struct Params {
    count: u32,
    cols: u32,
    // The first row of a, b (where it has rows) and out in their panels.
    a_row: u32,
    b_row: u32,
    out_row: u32,
    alpha: f32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
var<immediate> p: Params;

const PER_INVOCATION = 8u;

fn elements() -> u32 {
    return p.count;
}

fn each_element(i: u32) {
    out[p.out_row * p.cols + i] = op(f(a[p.a_row * p.cols + i]), p.alpha * load_b(i));
}
