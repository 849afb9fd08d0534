// Where a group of four rows is staged at a step of the products: [step][group], the group's number mixed with the
// step. The four invocations that stage one group and those that read neighbouring groups then meet different banks.
fn slot(step: u32, group: u32, groups: u32) -> u32 {
    return step * groups + (group ^ (((step >> 2u) << 1u) & (groups - 1u)));
}
