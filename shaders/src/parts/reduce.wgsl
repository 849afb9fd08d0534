// One value of those of all invocations of a workgroup, joined two by two in an order that is always the same. The
// kernel declares SIZE, the values' type Value, and `join`, which makes one value of two.

var<workgroup> partial: array<Value, SIZE>;

fn reduce(value: Value, invocation: u32) -> Value {
    partial[invocation] = value;
    workgroupBarrier();
    for (var half = SIZE / 2u; half > 0u; half >>= 1u) {
        if invocation < half {
            partial[invocation] = join(partial[invocation], partial[invocation + half]);
        }
        workgroupBarrier();
    }
    let result = partial[0];
    // The result is read by all before it is written over.
    workgroupBarrier();
    return result;
}
