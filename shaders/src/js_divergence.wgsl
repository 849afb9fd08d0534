// out[r] = the Jensen-Shannon divergence of softmax(a[r]) and softmax(b[r]) in nats, a workgroup for every row.
//
// With m the mean of p and q, and s = (p − q) / (p + q), it is Σ m ½ ((1 + s) ln (1 + s) + (1 − s) ln (1 − s)):
// no term is negative, so that nearly equal distributions do not drown in cancellation.

//!include each_row
//!include softmax

struct Params {
    rows: u32,
    vocab: u32,
    a_row: u32,
    b_row: u32,
    out_row: u32,
    // The bits of a NaN, which WGSL cannot write as a literal: for rows with a NaN logit.
    nan: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
var<immediate> p: Params;

const SMALLEST = 1.2e-38;
// Of a and of b.
alias Value = vec2<f32>;

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

fn each_row(row: u32, invocation: u32) {
    let a_start = (p.a_row + row) * p.vocab;
    let b_start = (p.b_row + row) * p.vocab;

    var highest = vec2(LOWEST);
    for (var c = invocation; c < p.vocab; c += SIZE) {
        highest = max(highest, vec2(a[a_start + c], b[b_start + c]));
    }
    highest = highest_of(highest, invocation);

    var sum = vec2(0.0);
    for (var c = invocation; c < p.vocab; c += SIZE) {
        sum += vec2(exp_or_nan(a[a_start + c] - highest.x), exp_or_nan(b[b_start + c] - highest.y));
    }
    sum = reduce(sum, invocation);

    var divergence = 0.0;
    for (var c = invocation; c < p.vocab; c += SIZE) {
        let pa = exp(a[a_start + c] - highest.x) / sum.x;
        let pb = exp(b[b_start + c] - highest.y) / sum.y;
        // Where both have underflowed there is nothing to add.
        let s = (pa - pb) / max(pa + pb, SMALLEST);
        divergence += 0.5 * (pa + pb) * term(s);
    }
    divergence = reduce(vec2(divergence, 0.0), invocation).x;
    if invocation == 0u {
        let broken = is_nan(sum.x) || is_nan(sum.y);
        out[p.out_row + row] = select(divergence, bitcast<f32>(p.nan), broken);
    }
}
