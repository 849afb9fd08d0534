// Sets the bits of the scores that are at most their threshold, clears all others. An invocation for every
// word of 32 columns.

//!include each_element
//!include score_rows
//!include mask

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

const PER_INVOCATION = 1u;
const NAN = 0xffffffffu;

fn elements() -> u32 {
    return p.rows * words();
}

fn each_element(index: u32) {
    let row = index / words();
    let word = index % words();
    let threshold = key(thresholds[p.thresholds_row + select(0u, row, EACH_ROW)]);
    let start = scores_start(row) + word * 32u;
    let columns = columns_of(word);
    var bits = 0u;
    for (var bit = 0u; bit < columns; bit++) {
        let k = key(score(start + bit, word * 32u + bit));
        // NaN is at most nothing, and nothing is at most NaN.
        bits |= u32(k <= threshold && k != NAN && threshold != NAN) << bit;
    }
    mask[mask_start(row) + word] = bits;
}
