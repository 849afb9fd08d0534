// The number of a workgroup: the host folds them into two dimensions, and may add some past the last.
fn number_of(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return workgroup.x + workgroup.y * workgroups.x;
}
