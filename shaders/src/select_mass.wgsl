// Sets the bits of the smallest scores of every row, as long as they stay together within a share of the
// row's sum; clears all others. Scores are not negative; equal ones go together. A workgroup for every row.
//
// Bisection: the bits of a number without a sign order as it does, so a bound is found bit by bit.

//!include each_row
//!include score_rows
//!include mask
//!include sum

struct Params {
    rows: u32,
    cols: u32,
    share: f32,
    // The first row of the scores and the mask in their panels.
    scores_row: u32,
    mask_row: u32,
}

@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
var<immediate> p: Params;

alias Value = f32;

// The sum of the row's scores whose bits are below a bound, in a fixed order: a greater bound never gives
// a smaller sum.
fn mass(start: u32, bound: u32, invocation: u32) -> f32 {
    var sum = 0.0;
    for (var column = invocation; column < p.cols; column += SIZE) {
        let bits = score(start + column, column) & 0x7fffffffu;
        sum += select(0.0, bitcast<f32>(bits), bits < bound);
    }
    return reduce(sum, invocation);
}

fn each_row(row: u32, invocation: u32) {
    let start = scores_start(row);
    let limit = p.share * mass(start, 0x80000000u, invocation);
    var bound = 0u;
    for (var bit = 0x40000000u; bit > 0u; bit >>= 1u) {
        if mass(start, bound | bit, invocation) <= limit {
            bound |= bit;
        }
    }
    // Infinity and NaN in the sum: nothing is selected.
    if (bitcast<u32>(limit) & 0x7f800000u) == 0x7f800000u {
        bound = 0u;
    }
    for (var word = invocation; word < words(); word += SIZE) {
        var bits = 0u;
        let columns = columns_of(word);
        for (var bit = 0u; bit < columns; bit++) {
            let column = word * 32u + bit;
            bits |= u32((score(start + column, column) & 0x7fffffffu) < bound) << bit;
        }
        mask[mask_start(row) + word] = bits;
    }
}
