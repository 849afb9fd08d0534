// Finds the key at a place of the sorted scores of a row, with a workgroup.

//!include score_rows
//!include digits
//!include scan

// The digits found so far, the place among the scores that share them, from 0, and how many those are.
var<workgroup> found: u32;
var<workgroup> place: u32;
var<workgroup> sharing: u32;

fn find_in_row(row: u32, first_place: u32, invocation: u32) {
    let start = scores_start(row);
    if invocation == 0u {
        found = 0u;
        place = first_place;
    }
    for (var shift = 32u; shift > 0u;) {
        shift -= 8u;
        atomicStore(&histogram[invocation], 0u);
        workgroupBarrier();
        let prefix = found;
        let rank = place;
        for (var column = invocation; column < p.cols; column += SIZE) {
            count_digit(key(score(start + column, column)), prefix, shift);
        }
        workgroupBarrier();
        let here = atomicLoad(&histogram[invocation]);
        let below = scan(here, invocation) - here;
        if rank >= below && rank < below + here {
            found = prefix | (invocation << shift);
            place = rank - below;
            sharing = here;
        }
        workgroupBarrier();
    }
}
