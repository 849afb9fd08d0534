// As linear_few, with a w whose zeros are left out: the elements that are kept, row after row, a bit for every element,
// and where each row begins. Every invocation meets the columns that it meets there, in the same order, so that the sums
// are the same.

//!include grid
//!include operands
//!include few

// Four words at a time; every row begins with four of its own.
@group(0) @binding(4) var<storage, read> mask: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> offsets: array<u32>;

const ROW_COLUMNS = 128u;

// Of four columns of an invocation: their bits, how many elements are kept of those before them in the subgroup's step,
// and how many in the whole step.
struct Step {
    bits: u32,
    before: u32,
    all: u32,
}

// The step of `4 · lanes` columns of a row from `first` on, which is a multiple of them.
fn step_of(row: u32, first: u32, lane: u32, lanes: u32) -> Step {
    let row_words = (p.ins + ROW_COLUMNS - 1u) / ROW_COLUMNS;
    let word = row * row_words + first / ROW_COLUMNS;
    let shift = (4u * lane) & 31u;
    let below = (1u << shift) - 1u;
    if lanes == 32u {
        let words = mask[word];
        let counts = countOneBits(words);
        let number = lane >> 3u;
        var before = 0u;
        if number > 0u { before += counts.x; }
        if number > 1u { before += counts.y; }
        if number > 2u { before += counts.z; }
        let own = words[number];
        return Step(
            (own >> shift) & 15u,
            before + countOneBits(own & below),
            counts.x + counts.y + counts.z + counts.w,
        );
    }
    if lanes < 8u {
        let columns = 4u * lanes;
        let step = (mask[word][(first >> 5u) & 3u] >> (first & 31u)) & ((1u << columns) - 1u);
        return Step((step >> shift) & 15u, countOneBits(step & below), countOneBits(step));
    }
    // A step has whole words, of which the last may be behind the row's.
    let number = lane >> 3u;
    let words = lanes >> 3u;
    let left = 4u * row_words - (first >> 5u);
    var step = Step(0u, 0u, 0u);
    for (var i = 0u; i < min(words, left); i++) {
        let at = 4u * row * row_words + (first >> 5u) + i;
        let bits = mask[at >> 2u][at & 3u];
        let count = countOneBits(bits);
        step.all += count;
        if i < number { step.before += count; }
        if i == number {
            step.bits = (bits >> shift) & 15u;
            step.before += countOneBits(bits & below);
        }
    }
    return step;
}

// Four columns: the next elements from `start` on where bits are set, and zeros elsewhere.
fn load_kept(bits: u32, start: u32) -> vec4<f32> {
    let kept = (vec4(bits) >> vec4(0u, 1u, 2u, 3u)) & vec4(1u);
    let rank = vec4(0u, kept.x, kept.x + kept.y, kept.x + kept.y + kept.z);
    if W_DTYPE == 0u {
        let at = vec4(start) + rank;
        let words = vec4(
            w[at.x >> 1u][at.x & 1u], w[at.y >> 1u][at.y & 1u], w[at.z >> 1u][at.z & 1u], w[at.w >> 1u][at.w & 1u],
        );
        return rounded(bitcast<vec4<f32>>(words * kept));
    }
    let word = start >> 1u;
    let first = w[word >> 1u][word & 1u];
    let second = w[(word + 1u) >> 1u][(word + 1u) & 1u];
    let third = w[(word + 2u) >> 1u][(word + 2u) & 1u];
    let odd = (start & 1u) == 1u;
    let low = select(first, (first >> 16u) | (second << 16u), odd);
    let high = select(second, (second >> 16u) | (third << 16u), odd);
    let halves = ((select(vec4(low), vec4(high), rank >= vec4(2u)) >> ((rank & vec4(1u)) * 16u)) & vec4(0xffffu)) * kept;
    let pairs = halves.xz | (halves.yw << vec2(16u));
    if W_DTYPE == 1u {
        return rounded(vec4(widen_f16(pairs.x), widen_f16(pairs.y)));
    }
    return rounded(vec4(widen_bf16(pairs.x), widen_bf16(pairs.y)));
}

@compute @workgroup_size(GX)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    let number = number_of(workgroup, workgroups) * subgroups + subgroup;
    let step = OUTPUTS * workgroups.x * workgroups.y * subgroups;
    for (var out = OUTPUTS * number; out < p.outs; out += step) {
        // Rows behind the last are the last again, and not stored.
        let rows = min(vec4(out) + vec4(0u, 1u, 2u, 3u), vec4(p.outs - 1u));
        var starts = vec4(offsets[rows.x], 0u, 0u, 0u);
        if OUTPUTS > 1u { starts.y = offsets[rows.y]; }
        if OUTPUTS > 2u { starts.z = offsets[rows.z]; starts.w = offsets[rows.w]; }
        // Of every output, by token.
        var sums = array<vec4<f32>, 8>();
        for (var k = 0u; k < p.ins; k += 4u * lanes) {
            let s0 = step_of(rows.x, k, lane, lanes);
            let w0 = load_kept(s0.bits, starts.x + s0.before);
            starts.x += s0.all;
            var w1: vec4<f32>; var w2: vec4<f32>; var w3: vec4<f32>;
            if OUTPUTS > 1u {
                let s1 = step_of(rows.y, k, lane, lanes);
                w1 = load_kept(s1.bits, starts.y + s1.before);
                starts.y += s1.all;
            }
            if OUTPUTS > 2u {
                let s2 = step_of(rows.z, k, lane, lanes);
                w2 = load_kept(s2.bits, starts.z + s2.before);
                starts.z += s2.all;
                let s3 = step_of(rows.w, k, lane, lanes);
                w3 = load_kept(s3.bits, starts.w + s3.before);
                starts.w += s3.all;
            }
            // Columns behind the last are zeros, which change no sum.
            for (var t = 0u; t < TOKENS; t++) {
                let v = load_x(t, k + 4u * lane);
                sums[t].x += dot(v, w0);
                if OUTPUTS > 1u { sums[t].y += dot(v, w1); }
                if OUTPUTS > 2u { sums[t].z += dot(v, w2); sums[t].w += dot(v, w3); }
            }
        }
        for (var t = 0u; t < TOKENS; t++) {
            let sum = subgroupAdd(sums[t]);
            if lane == t % lanes && t < p.tokens { store_outputs(t, out, sum); }
        }
    }
}
