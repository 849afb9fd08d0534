// Prefix sums over a workgroup of SIZE invocations.

var<workgroup> sums: array<u32, SIZE>;

// The sum of the values of the invocations up to this one. The last of `sums` is then the sum of all; who reads it
// has to wait for the others before the next scan.
fn scan(value: u32, invocation: u32) -> u32 {
    sums[invocation] = value;
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
    return sums[invocation];
}
