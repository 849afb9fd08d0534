// What the reductions of rows and of columns have: their bindings and parameters, what an element counts as, and how
// two results become one.

// 0: Σ x, 1: Σ |x|, 2: Σ x², 3: max |x|
override F: u32 = 0u;
override ACCUMULATE: bool = false;

struct Params {
    rows: u32,
    cols: u32,
    // The first row of x and out in their panels.
    x_row: u32,
    out_row: u32,
}

// Numbers travel as their bits: no driver can then change a NaN on its way.
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

fn term(bits: u32) -> u32 {
    let v = bitcast<f32>(bits);
    switch F {
        case 1u: { return bits & 0x7fffffffu; }
        case 2u: { return bitcast<u32>(v * v); }
        case 3u: { return bits & 0x7fffffffu; }
        default: { return bits; }
    }
}

fn join(left: u32, right: u32) -> u32 {
    if F == 3u {
        // As bits, absolute values compare as numbers do, with NaN above infinity.
        return max(left, right & 0x7fffffffu);
    }
    return bitcast<u32>(bitcast<f32>(left) + bitcast<f32>(right));
}

// Writes a result, or joins it to what is there.
fn store(index: u32, result: u32) {
    if ACCUMULATE {
        out[index] = join(result, out[index]);
    } else {
        out[index] = result;
    }
}
