// Sets the bits of the scores that are at most their threshold, clears all others. An invocation for every
// word of 32 columns.

//!include scores

// Whether every row has a threshold of its own.
override EACH_ROW: bool = false;

struct Params {
    rows: u32,
    cols: u32,
    // The first row of the scores, of the thresholds and of the mask in their panels.
    scores_row: u32,
    thresholds_row: u32,
    mask_row: u32,
}

@group(0) @binding(2) var<storage, read> thresholds: array<u32>;
@group(0) @binding(3) var<storage, read_write> mask: array<u32>;
var<immediate> p: Params;

const SIZE = 256u;
const NAN = 0xffffffffu;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let words = (p.cols + 31u) / 32u;
    let index = (workgroup.x + workgroup.y * workgroups.x) * SIZE + invocation;
    if index >= p.rows * words {
        return;
    }
    let row = index / words;
    let word = index % words;
    let threshold = key(thresholds[p.thresholds_row + select(0u, row, EACH_ROW)]);
    let start = (p.scores_row + row) * p.cols + word * 32u;
    let columns = min(32u, p.cols - word * 32u);
    var bits = 0u;
    for (var bit = 0u; bit < columns; bit++) {
        let k = key(score(start + bit, word * 32u + bit));
        // NaN is at most nothing, and nothing is at most NaN.
        bits |= u32(k <= threshold && k != NAN && threshold != NAN) << bit;
    }
    mask[(p.mask_row + row) * words + word] = bits;
}
