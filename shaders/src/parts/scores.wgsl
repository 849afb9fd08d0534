// What every kernel that ranks scores has: the scores, computed as they are read, and their order.
//
// score[r, c] = f(a[r, c]), or f(a[r, c]) ∘ by[c]

//!include functions

// Whether there is a number for every column.
override BY: bool = false;

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> by: array<f32>;

// The bits of the score of an element of a, which is in this column.
fn score(element: u32, column: u32) -> u32 {
    let bits = a[element];
    if BY {
        return bitcast<u32>(op(f(bitcast<f32>(bits)), by[column]));
    }
    // A number that is passed on as it is keeps its bits, subnormal or not.
    if F == 0u {
        return bits;
    }
    return bitcast<u32>(f(bitcast<f32>(bits)));
}

// An integer that orders as its number does: -0 as +0, every NaN above all.
fn key(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if magnitude == 0u { return 0x80000000u; }
    if magnitude > 0x7f800000u { return 0xffffffffu; }
    return select(~bits, bits | 0x80000000u, bits < 0x80000000u);
}
