// loss[r] = log Σ_c exp(logits[r, c]) − logits[r, targets[r]], a workgroup for every row.

//!include each_row
//!include softmax

struct Params {
    rows: u32,
    vocab: u32,
    logits_row: u32,
    targets_row: u32,
    loss_row: u32,
    // The bits of a NaN, which WGSL has no way to write: for targets that there are not, and rows
    // with a logit that is not a number.
    nan: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
var<immediate> p: Params;

alias Value = f32;

fn each_row(row: u32, invocation: u32) {
    let start = (p.logits_row + row) * p.vocab;

    var highest = LOWEST;
    for (var c = invocation; c < p.vocab; c += SIZE) {
        highest = max(highest, logits[start + c]);
    }
    highest = highest_of(highest, invocation);

    var sum = 0.0;
    for (var c = invocation; c < p.vocab; c += SIZE) {
        sum += exp_or_nan(logits[start + c] - highest);
    }
    let total = reduce(sum, invocation);
    if invocation == 0u {
        let label = targets[p.targets_row + row];
        var value = bitcast<f32>(p.nan);
        if label < p.vocab && !is_nan(total) {
            value = log(total) - (logits[start + label] - highest);
        }
        loss[p.loss_row + row] = value;
    }
}
