// out = x in another floating-point type, rounding to nearest even; or, for one type, a copy.
//
// All in integers: devices may flush subnormals and lose the payloads of NaN in floating-point
// arithmetic. An invocation owns a whole word of the output. Halves of it that lie outside of the range
// stay as they are.

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

const SIZE = 256u;

fn widen_f16(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let magnitude = half & 0x7fffu;
    if magnitude > 0x7c00u {
        return sign | 0x7fc00000u | ((magnitude & 0x3ffu) << 13u);
    }
    if magnitude == 0x7c00u {
        return sign | 0x7f800000u;
    }
    if magnitude >= 0x400u {
        return sign | ((magnitude << 13u) + 0x38000000u);
    }
    if magnitude == 0u {
        return sign;
    }
    // A subnormal: its first bit becomes the implied one.
    let shift = countLeadingZeros(magnitude) - 21u;
    return sign | (((113u - shift) << 23u) + ((magnitude << (shift + 13u)) & 0x7fffffu));
}

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

// An element as f32's bits.
fn load(index: u32) -> u32 {
    if FROM == 0u {
        return x[index];
    }
    let half = (x[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu;
    if FROM == 1u {
        return widen_f16(half);
    }
    return half << 16u;
}

// An element as the output's 16 bits.
fn convert(index: u32) -> u32 {
    if FROM == TO {
        return (x[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu;
    }
    if TO == 1u {
        return narrow_f16(load(index));
    }
    return narrow_bf16(load(index));
}

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let number = (workgroup.x + workgroup.y * workgroups.x) * SIZE + invocation;
    if TO == 0u {
        if number < p.count {
            out[p.out_start + number] = load(p.x_start + number);
        }
        return;
    }
    let word = (p.out_start >> 1u) + number;
    let end = p.out_start + p.count;
    if 2u * word >= end {
        return;
    }
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
