// out = x in another floating-point type, rounding to nearest even; or, for one type, a copy.
//
// In integers, but where parts/widen.wgsl says why it may be otherwise: devices may flush subnormals and lose the
// payloads of NaN in floating-point arithmetic. An invocation owns a whole word of the output. Halves of it that lie
// outside of the range stay as they are.

//!include each_element
//!include widen

// 0: f32, 1: f16, 2: bf16
override FROM: u32 = 0u;
override TO: u32 = 0u;

struct Params {
    count: u32,
    x_start: u32,
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const PER_INVOCATION = 1u;

fn narrow_f16(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return sign | 0x7e00u | ((magnitude >> 13u) & 0x3ffu);
    }
    // From 65,520 on: half a step past the largest number.
    if magnitude >= 0x477ff000u {
        return sign | 0x7c00u;
    }
    if magnitude >= 0x38800000u {
        let rebiased = magnitude - 0x38000000u;
        return sign | ((rebiased + 0xfffu + ((rebiased >> 13u) & 1u)) >> 13u);
    }
    // Half of the smallest subnormal and below.
    if magnitude <= 0x33000000u {
        return sign;
    }
    let fraction = (magnitude & 0x7fffffu) | 0x800000u;
    let shift = 126u - (magnitude >> 23u);
    let kept = fraction >> shift;
    let lost = fraction & ((1u << shift) - 1u);
    let tie = 1u << (shift - 1u);
    return sign | (kept + select(0u, 1u, lost > tie || (lost == tie && (kept & 1u) == 1u)));
}

fn narrow_bf16(bits: u32) -> u32 {
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return (bits >> 16u) | 0x40u;
    }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// An element of 16 bits.
fn load_half(index: u32) -> u32 {
    return (x[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu;
}

// An element as f32's bits.
fn load(index: u32) -> u32 {
    if FROM == 0u {
        return x[index];
    }
    let half = load_half(index);
    if FROM == 1u {
        let bits = widen_f16_bits(half).x;
        // A NaN becomes a quiet one.
        return select(bits, bits | 0x400000u, (bits & 0x7fffffffu) > 0x7f800000u);
    }
    return half << 16u;
}

// An element as the output's 16 bits.
fn convert(index: u32) -> u32 {
    if FROM == TO {
        return load_half(index);
    }
    if TO == 1u {
        return narrow_f16(load(index));
    }
    return narrow_bf16(load(index));
}

// The words of the output that have an element of the range.
fn elements() -> u32 {
    if TO == 0u {
        return p.count;
    }
    return (p.out_start + p.count + 1u) / 2u - p.out_start / 2u;
}

fn each_element(number: u32) {
    if TO == 0u {
        out[p.out_start + number] = load(p.x_start + number);
        return;
    }
    let word = (p.out_start >> 1u) + number;
    let end = p.out_start + p.count;
    let has_low = 2u * word >= p.out_start;
    let has_high = 2u * word + 1u < end;
    var result = 0u;
    if !(has_low && has_high) {
        result = out[word];
    }
    // The low half of the first word may be before the range: this then wraps around, and is not used.
    let source = p.x_start + (2u * word - p.out_start);
    if has_low {
        result = (result & 0xffff0000u) | convert(source);
    }
    if has_high {
        result = (result & 0xffffu) | (convert(source + 1u) << 16u);
    }
    out[word] = result;
}
