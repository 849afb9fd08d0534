// Sets the bits of the `count` smallest scores of every row, clears all others. A workgroup for every row.
//
// Radix selection: four digits of eight bits find the key of the greatest score that is selected; ties
// with it then go to the lower columns.

//!include each_row
//!include find_in_row
//!include threshold

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

fn each_row(row: u32, invocation: u32) {
    if p.count == 0u {
        for (var word = invocation; word < words(); word += SIZE) {
            mask[mask_start(row) + word] = 0u;
        }
        return;
    }
    find_in_row(row, p.count - 1u, invocation);
    let threshold = found;
    let own = own_words(invocation);
    var ties = place + 1u;
    if workgroupUniformLoad(&sharing) != workgroupUniformLoad(&place) + 1u {
        let count = count_ties(row, own, threshold);
        let before = scan(count, invocation) - count;
        ties -= min(before, ties);
    }
    mark(row, own, threshold, ties);
}
