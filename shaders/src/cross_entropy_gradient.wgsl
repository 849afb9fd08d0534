// out[r, c] = factors[r] · (softmax(logits[r])[c] − [c = targets[r]]), a workgroup for every row.

//!include each_row
//!include softmax

struct Params {
    rows: u32,
    vocab: u32,
    logits_row: u32,
    targets_row: u32,
    factors_row: u32,
    out_row: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
var<immediate> p: Params;

alias Value = f32;

fn each_row(row: u32, invocation: u32) {
    let start = (p.logits_row + row) * p.vocab;
    let end = (p.out_row + row) * p.vocab;

    var highest = LOWEST;
    for (var c = invocation; c < p.vocab; c += SIZE) {
        highest = max(highest, logits[start + c]);
    }
    highest = highest_of(highest, invocation);
    var sum = 0.0;
    for (var c = invocation; c < p.vocab; c += SIZE) {
        let e = exp_or_nan(logits[start + c] - highest);
        sum += e;
        out[end + c] = e;
    }
    let share = 1.0 / reduce(sum, invocation);
    let factor = factors[p.factors_row + row];
    let label = targets[p.targets_row + row];
    for (var c = invocation; c < p.vocab; c += SIZE) {
        let hit = select(0.0, 1.0, c == label);
        out[end + c] = factor * (out[end + c] * share - hit);
    }
}
