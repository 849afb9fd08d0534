// What a row of logits, or one row each of several as a vector, takes to become a distribution: its highest logit,
// and exponentials and their sum (`reduce`). The kernel declares SIZE and the type Value of a logit of every row.

//!include sum

// Where the search for the highest begins: WGSL has no way to write an infinity.
const LOWEST = -3.4e38;

// The highest of the values of all invocations.
fn highest_of(value: Value, invocation: u32) -> Value {
    partial[invocation] = value;
    workgroupBarrier();
    for (var half = SIZE / 2u; half > 0u; half >>= 1u) {
        if invocation < half {
            partial[invocation] = max(partial[invocation], partial[invocation + half]);
        }
        workgroupBarrier();
    }
    let highest = partial[0];
    workgroupBarrier();
    return highest;
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// The exponential of a logit's difference from the highest. Drivers need not keep a NaN through exp, log and max.
fn exp_or_nan(difference: f32) -> f32 {
    return select(exp(difference), difference, is_nan(difference));
}
