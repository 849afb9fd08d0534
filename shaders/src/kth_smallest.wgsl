// The value at a place of the sorted scores of a whole matrix, digit by digit of eight bits.
//
// For every digit two runs: one counts, for every value of the digit, the scores that share the digits
// found so far (a run for every panel); one finds the next digit.

//!include grid
//!include scores
//!include digits
//!include scan

// 0: count, 1: find the digit
override PHASE: u32 = 0u;

struct Params {
    // Elements of the panel, and columns of the matrix.
    count: u32,
    cols: u32,
    // The place, from 0. Read with the first digit.
    place: u32,
    // Where the digit is: 24, 16, 8 and 0.
    shift: u32,
}

// The digits found so far, the place among the scores that share them, how many those are, and from the
// fourth word on the counts. All 0 before the first run.
@group(0) @binding(2) var<storage, read_write> state: array<atomic<u32>>;
// The value that the digits found so far make.
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const SIZE = 256u;
const PER_WORKGROUP = SIZE * 32u;
// Where the counts are, and all words of the state.
const COUNTS = 4u;
const STATE_WORDS = COUNTS + SIZE;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = number_of(workgroup, workgroups);
    let found = atomicLoad(&state[0]);
    if PHASE == 0u {
        let first = index * PER_WORKGROUP;
        if first >= p.count {
            return;
        }
        atomicStore(&histogram[invocation], 0u);
        workgroupBarrier();
        for (var i = first + invocation; i < min(first + PER_WORKGROUP, p.count); i += SIZE) {
            count_digit(key(score(i, i % p.cols)), found, p.shift);
        }
        workgroupBarrier();
        // Sums of integers do not depend on their order.
        let here = atomicLoad(&histogram[invocation]);
        if here > 0u {
            atomicAdd(&state[COUNTS + invocation], here);
        }
        return;
    }
    if index > 0u {
        return;
    }
    let place = select(atomicLoad(&state[1]), p.place, p.shift == 24u);
    let here = atomicLoad(&state[COUNTS + invocation]);
    let below = scan(here, invocation) - here;
    // Nobody reads the state any more; the next digit counts from 0.
    storageBarrier();
    atomicStore(&state[COUNTS + invocation], 0u);
    if place >= below && place < below + here {
        let digits = found | (invocation << p.shift);
        atomicStore(&state[0], digits);
        atomicStore(&state[1], place - below);
        atomicStore(&state[2], here);
        out[0] = value(digits);
    }
}
