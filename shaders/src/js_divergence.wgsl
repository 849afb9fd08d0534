// out[r] = the Jensen-Shannon divergence of softmax(a[r]) and softmax(b[r]) in nats, a workgroup for every row.
//
// With m the mean of p and q, and s = (p − q) / (p + q), it is Σ m ½ ((1 + s) ln (1 + s) + (1 − s) ln (1 − s)):
// no term is negative, so that nearly equal distributions do not drown in cancellation.

struct Params {
    rows: u32,
    vocab: u32,
    a_row: u32,
    b_row: u32,
    out_row: u32,
    // The bits of a NaN, which WGSL has no way to write: for rows with a logit that is no number.
    nan: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
var<immediate> p: Params;

const SIZE = 256u;
const LOWEST = -3.4e38;
const SMALLEST = 1.2e-38;
// What is reduced of a and of b together.
var<workgroup> shared_values: array<vec2<f32>, SIZE>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// x ln x, which is 0 at 0.
fn x_log_x(x: f32) -> f32 {
    return select(0.0, x * log(max(x, SMALLEST)), x > 0.0);
}

fn term(s: f32) -> f32 {
    let square = s * s;
    if square < 0.0625 {
        // The logarithms would cancel; the series Σ s^2k / (2k (2k − 1)).
        var sum = 1.0 / 90.0;
        sum = sum * square + 1.0 / 56.0;
        sum = sum * square + 1.0 / 30.0;
        sum = sum * square + 1.0 / 12.0;
        sum = sum * square + 0.5;
        return sum * square;
    }
    return 0.5 * (x_log_x(1.0 + s) + x_log_x(1.0 - s));
}

// The sum of every invocation's value.
fn total(value: vec2<f32>, invocation: u32) -> vec2<f32> {
    shared_values[invocation] = value;
    workgroupBarrier();
    for (var half = SIZE / 2u; half > 0u; half >>= 1u) {
        if invocation < half {
            shared_values[invocation] += shared_values[invocation + half];
        }
        workgroupBarrier();
    }
    let sum = shared_values[0];
    workgroupBarrier();
    return sum;
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
    let a_start = (p.a_row + row) * p.vocab;
    let b_start = (p.b_row + row) * p.vocab;

    var highest = vec2(LOWEST);
    for (var c = invocation; c < p.vocab; c += SIZE) {
        highest = max(highest, vec2(a[a_start + c], b[b_start + c]));
    }
    shared_values[invocation] = highest;
    workgroupBarrier();
    for (var half = SIZE / 2u; half > 0u; half >>= 1u) {
        if invocation < half {
            shared_values[invocation] = max(shared_values[invocation], shared_values[invocation + half]);
        }
        workgroupBarrier();
    }
    highest = shared_values[0];
    workgroupBarrier();

    var sum = vec2(0.0);
    for (var c = invocation; c < p.vocab; c += SIZE) {
        let da = a[a_start + c] - highest.x;
        let db = b[b_start + c] - highest.y;
        // Drivers need not keep a NaN through exp and max.
        sum += vec2(select(exp(da), da, is_nan(da)), select(exp(db), db, is_nan(db)));
    }
    sum = total(sum, invocation);

    var divergence = 0.0;
    for (var c = invocation; c < p.vocab; c += SIZE) {
        let pa = exp(a[a_start + c] - highest.x) / sum.x;
        let pb = exp(b[b_start + c] - highest.y) / sum.y;
        // Where both have underflowed there is nothing to add.
        let s = (pa - pb) / max(pa + pb, SMALLEST);
        divergence += 0.5 * (pa + pb) * term(s);
    }
    divergence = total(vec2(divergence, 0.0), invocation).x;
    if invocation == 0u {
        let broken = is_nan(sum.x) || is_nan(sum.y);
        out[p.out_row + row] = select(divergence, bitcast<f32>(p.nan), broken);
    }
}
