// Reduction to a sum.

//!include reduce

fn join(left: Value, right: Value) -> Value {
    return left + right;
}
