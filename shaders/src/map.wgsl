// out[i] = scale · f(x[i]) + shift.

//!include each_element
//!include functions

// Whether nothing is scaled or shifted: the value then passes unchanged, -0 included.
override PLAIN: bool = false;

struct Params {
    count: u32,
    scale: f32,
    shift: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
var<immediate> p: Params;

const PER_INVOCATION = 8u;

fn elements() -> u32 {
    return p.count;
}

fn each_element(i: u32) {
    let value = f(x[i]);
    if PLAIN {
        out[i] = value;
    } else {
        out[i] = p.scale * value + p.shift;
    }
}
