// Sets the bits of the smallest scores of a whole matrix, clears all others, once the greatest selected
// score is known. Ties with it go to the lower rows, then to the lower columns.
//
// Three runs: one counts the ties of every row, one adds them up over the rows above, one sets bits. The
// first and the last take a workgroup for every row, the second a single one.

//!include grid
//!include scan
//!include threshold

// 0: count, 1: add up, 2: set bits
override PHASE: u32 = 0u;

struct Params {
    rows: u32,
    cols: u32,
    // The first row of the scores, of the ties and of the mask in their panels.
    scores_row: u32,
    ties_row: u32,
    mask_row: u32,
}

// The key of the greatest selected score, and its place among its equals, from 0: what a search for that
// place leaves behind. The fourth word is the sum of the ties so far, 0 before the first run.
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
// The ties of every row; then those of the rows above it.
@group(0) @binding(3) var<storage, read_write> ties: array<u32>;
@group(0) @binding(4) var<storage, read_write> mask: array<u32>;
var<immediate> p: Params;

const SIZE = 256u;
const SUM = 3u;

fn add_up(invocation: u32) {
    var before = state[SUM];
    for (var first = 0u; first < p.rows; first += SIZE) {
        let row = first + invocation;
        var own = 0u;
        if row < p.rows {
            own = ties[p.ties_row + row];
        }
        // The last sums are read by all before they are written over.
        workgroupBarrier();
        let up_to = scan(own, invocation);
        if row < p.rows {
            ties[p.ties_row + row] = before + up_to - own;
        }
        before += sums[SIZE - 1u];
    }
    workgroupBarrier();
    if invocation == 0u {
        state[SUM] = before;
    }
}

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = number_of(workgroup, workgroups);
    if PHASE == 1u {
        if row > 0u {
            return;
        }
        add_up(invocation);
        return;
    }
    if row >= p.rows {
        return;
    }
    let threshold = state[0];
    let own = own_words(invocation);
    let count = count_ties(row, own, threshold);
    let up_to = scan(count, invocation);
    if PHASE == 0u {
        if invocation == 0u {
            ties[p.ties_row + row] = sums[SIZE - 1u];
        }
        return;
    }
    let wanted = state[1] + 1u;
    let before = ties[p.ties_row + row] + up_to - count;
    mark(row, own, threshold, wanted - min(before, wanted));
}
