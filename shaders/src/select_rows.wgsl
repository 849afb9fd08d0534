// Sets the bits of the `count` smallest scores of every row, clears all others. A workgroup for every row.
//
// Radix selection: four digits of eight bits find the key of the greatest score that is selected; ties
// with it then go to the lower columns.

//!include scores

struct Params {
    rows: u32,
    cols: u32,
    count: u32,
    // The first row of the scores and the mask in their panels.
    scores_row: u32,
    mask_row: u32,
}

@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
var<immediate> p: Params;

const SIZE = 256u;
var<workgroup> histogram: array<atomic<u32>, SIZE>;
var<workgroup> sums: array<u32, SIZE>;
// The digits found so far, how many scores are still to be selected among those that share them, and how
// many those are.
var<workgroup> found: u32;
var<workgroup> wanted: u32;
var<workgroup> sharing: u32;

// Replaces every sum by the sum of those up to it.
fn scan(invocation: u32) {
    for (var step = 1u; step < SIZE; step <<= 1u) {
        var sum = sums[invocation];
        if invocation >= step {
            sum += sums[invocation - step];
        }
        workgroupBarrier();
        sums[invocation] = sum;
        workgroupBarrier();
    }
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
    let words = (p.cols + 31u) / 32u;
    let mask_start = (p.mask_row + row) * words;
    if p.count == 0u {
        for (var word = invocation; word < words; word += SIZE) {
            mask[mask_start + word] = 0u;
        }
        return;
    }

    if invocation == 0u {
        found = 0u;
        wanted = p.count;
        sharing = p.cols;
    }
    for (var shift = 32u; shift > 0u;) {
        // Before: the digits above `shift` are found. A shift by 32 would be no shift.
        let above = select(0xffffffffu << (shift & 31u), 0u, shift == 32u);
        shift -= 8u;
        atomicStore(&histogram[invocation], 0u);
        workgroupBarrier();
        let prefix = found;
        for (var column = invocation; column < p.cols; column += SIZE) {
            let k = key(score(start + column, column));
            if (k & above) == prefix {
                atomicAdd(&histogram[(k >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        let here = atomicLoad(&histogram[invocation]);
        sums[invocation] = here;
        let rank = wanted;
        workgroupBarrier();
        scan(invocation);
        let up_to = sums[invocation];
        if up_to >= rank && up_to - here < rank {
            found = prefix | (invocation << shift);
            wanted = rank - (up_to - here);
            sharing = here;
        }
        workgroupBarrier();
    }

    // An invocation owns whole words, so that no two write to one.
    let threshold = found;
    let per_invocation = (words + SIZE - 1u) / SIZE;
    let first_word = min(invocation * per_invocation, words);
    let end_word = min(first_word + per_invocation, words);
    var ties = wanted;
    if workgroupUniformLoad(&sharing) != workgroupUniformLoad(&wanted) {
        var count = 0u;
        for (var column = first_word * 32u; column < min(end_word * 32u, p.cols); column++) {
            count += u32(key(score(start + column, column)) == threshold);
        }
        sums[invocation] = count;
        workgroupBarrier();
        scan(invocation);
        let before = sums[invocation] - count;
        ties -= min(before, ties);
    }
    for (var word = first_word; word < end_word; word++) {
        var bits = 0u;
        let columns = min(32u, p.cols - word * 32u);
        for (var bit = 0u; bit < columns; bit++) {
            let column = word * 32u + bit;
            let k = key(score(start + column, column));
            let tie = k == threshold && ties > 0u;
            ties -= u32(tie);
            bits |= u32(k < threshold || tie) << bit;
        }
        mask[mask_start + word] = bits;
    }
}
