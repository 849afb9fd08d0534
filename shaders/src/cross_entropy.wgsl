// loss[r] = log Σ_c exp(logits[r, c]) − logits[r, targets[r]], a workgroup for every row.

struct Params {
    rows: u32,
    vocab: u32,
    logits_row: u32,
    targets_row: u32,
    loss_row: u32,
    // The bits of a NaN, which WGSL has no way to write: for targets that there are not, and rows
    // with a logit that is no number.
    nan: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
var<immediate> p: Params;

const SIZE = 256u;
const LOWEST = -3.4e38;
var<workgroup> shared_values: array<f32, SIZE>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
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
    let start = (p.logits_row + row) * p.vocab;

    var highest = LOWEST;
    for (var c = invocation; c < p.vocab; c += SIZE) {
        highest = max(highest, logits[start + c]);
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

    var sum = 0.0;
    for (var c = invocation; c < p.vocab; c += SIZE) {
        let difference = logits[start + c] - highest;
        // Drivers need not keep a NaN through exp, log and max.
        sum += select(exp(difference), difference, is_nan(difference));
    }
    shared_values[invocation] = sum;
    workgroupBarrier();
    for (var half = SIZE / 2u; half > 0u; half >>= 1u) {
        if invocation < half {
            shared_values[invocation] += shared_values[invocation + half];
        }
        workgroupBarrier();
    }
    if invocation == 0u {
        let label = targets[p.targets_row + row];
        var value = bitcast<f32>(p.nan);
        let total = shared_values[0];
        if label < p.vocab && !is_nan(total) {
            value = log(total) - (logits[start + label] - highest);
        }
        loss[p.loss_row + row] = value;
    }
}
