// The value at a place of the sorted scores of every row, digit by digit of eight bits. A workgroup for
// every row.

//!include scores

struct Params {
    rows: u32,
    cols: u32,
    // The place, from 0.
    place: u32,
    // The first row of the scores and of out in their panels.
    scores_row: u32,
    out_row: u32,
}

@group(0) @binding(2) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const SIZE = 256u;
var<workgroup> histogram: array<atomic<u32>, SIZE>;
var<workgroup> sums: array<u32, SIZE>;
// The digits found so far, and the place among the scores that share them.
var<workgroup> found: u32;
var<workgroup> place: u32;

// The bits of the number with this key.
fn value(key: u32) -> u32 {
    if key == 0xffffffffu { return 0x7fc00000u; }
    return select(~key, key & 0x7fffffffu, key >= 0x80000000u);
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
    let start = (p.scores_row + row) * p.cols;
    if invocation == 0u {
        found = 0u;
        place = p.place;
    }
    for (var shift = 32u; shift > 0u;) {
        // Before: the digits above `shift` are found. A shift by 32 would be no shift.
        let above = select(0xffffffffu << (shift & 31u), 0u, shift == 32u);
        shift -= 8u;
        atomicStore(&histogram[invocation], 0u);
        workgroupBarrier();
        let prefix = found;
        let rank = place;
        for (var column = invocation; column < p.cols; column += SIZE) {
            let k = key(score(start + column, column));
            if (k & above) == prefix {
                atomicAdd(&histogram[(k >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        let here = atomicLoad(&histogram[invocation]);
        sums[invocation] = here;
        workgroupBarrier();
        for (var step = 1u; step < SIZE; step <<= 1u) {
            var sum = sums[invocation];
            if invocation >= step {
                sum += sums[invocation - step];
            }
            workgroupBarrier();
            sums[invocation] = sum;
            workgroupBarrier();
        }
        let below = sums[invocation] - here;
        if rank >= below && rank < below + here {
            found = prefix | (invocation << shift);
            place = rank - below;
        }
        workgroupBarrier();
    }
    if invocation == 0u {
        out[p.out_row + row] = value(found);
    }
}
