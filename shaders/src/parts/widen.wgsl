// Numbers of 16 bits, two to a word, as f32.
//
// Integer arithmetic, because unpack2x16float may flush subnormals and is not on every adapter.

// The bits of two f16. A NaN keeps its payload, and may be a signalling one.
fn widen_f16_bits(pair: u32) -> vec2<u32> {
    let bits = vec2(pair, pair >> 16u);
    let magnitude = bits & vec2(0x7fffu);
    let special = magnitude >= vec2(0x7c00u);
    let shifted = (magnitude << vec2(13u)) + select(vec2(0x38000000u), vec2(0x70000000u), special);
    // A subnormal is the fraction of 2^-14, without its implied one. None of these numbers is a subnormal of f32.
    let subnormal = bitcast<vec2<f32>>(shifted + vec2(0x00800000u)) - vec2(6.103515625e-05);
    let widened = select(bitcast<vec2<u32>>(subnormal), shifted, magnitude >= vec2(0x400u));
    return widened | ((bits & vec2(0x8000u)) << vec2(16u));
}

fn widen_f16(pair: u32) -> vec2<f32> {
    return bitcast<vec2<f32>>(widen_f16_bits(pair));
}

fn widen_bf16(pair: u32) -> vec2<f32> {
    return vec2(bitcast<f32>(pair << 16u), bitcast<f32>(pair & 0xffff0000u));
}

// The number at an index of an array of them, of the word that it is in. 1: f16, 2: bf16
fn widen(pair: u32, index: u32, dtype: u32) -> f32 {
    let widened = select(widen_bf16(pair), widen_f16(pair), dtype == 1u);
    return select(widened.x, widened.y, (index & 1u) == 1u);
}
