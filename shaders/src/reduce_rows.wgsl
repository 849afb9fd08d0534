// out[r] (+)= the reduction of x[r, ·], a workgroup for every row.

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

const SIZE = 256u;
var<workgroup> partial: array<u32, SIZE>;

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
    let start = (p.x_row + row) * p.cols;
    // Four partial results keep loads in flight and shorten the chain of additions.
    var a = 0u; var b = 0u; var c = 0u; var d = 0u;
    var column = invocation;
    for (; column + 3u * SIZE < p.cols; column += 4u * SIZE) {
        a = join(a, term(x[start + column]));
        b = join(b, term(x[start + column + SIZE]));
        c = join(c, term(x[start + column + 2u * SIZE]));
        d = join(d, term(x[start + column + 3u * SIZE]));
    }
    for (; column < p.cols; column += SIZE) {
        a = join(a, term(x[start + column]));
    }
    partial[invocation] = join(join(a, b), join(c, d));
    workgroupBarrier();
    for (var half = SIZE / 2u; half > 0u; half >>= 1u) {
        if invocation < half {
            partial[invocation] = join(partial[invocation], partial[invocation + half]);
        }
        workgroupBarrier();
    }
    if invocation == 0u {
        var result = partial[0];
        if ACCUMULATE {
            result = join(result, out[p.out_row + row]);
        }
        out[p.out_row + row] = result;
    }
}
