// x[r, c] = f(scale · x[r, c]) ∘ (alpha · b), where b is [r, c], [c], [r] or a number.

//!include each_element
//!include functions
//!include repeat

struct Params {
    count: u32,
    cols: u32,
    // The first row of x and b (where it has rows) in their panels.
    x_row: u32,
    b_row: u32,
    scale: f32,
    alpha: f32,
}

@group(0) @binding(0) var<storage, read> b: array<f32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
var<immediate> p: Params;

const PER_INVOCATION = 8u;

fn elements() -> u32 {
    return p.count;
}

fn each_element(i: u32) {
    let at = p.x_row * p.cols + i;
    x[at] = op(f(p.scale * x[at]), p.alpha * load_b(i));
}
