// Sets the bits of the smallest scores of a row, clears all others, with a workgroup.
//
// Radix selection: four digits of eight bits find the key of the greatest score that is selected; ties
// with it then go to the lower columns.

//!include find_in_row
//!include threshold

fn select_smallest(row: u32, count: u32, invocation: u32) {
    if count == 0u {
        for (var word = invocation; word < words(); word += SIZE) {
            mask[mask_start(row) + word] = 0u;
        }
        return;
    }
    find_in_row(row, count - 1u, invocation);
    let threshold = found;
    let own = own_words(invocation);
    var ties = place + 1u;
    if workgroupUniformLoad(&sharing) != workgroupUniformLoad(&place) + 1u {
        let tied = count_ties(row, own, threshold);
        let before = scan(tied, invocation) - tied;
        ties -= min(before, ties);
    }
    mark(row, own, threshold, ties);
}
