// The elements of a matrix whose zeros are left out, zeros put in.
//
// An invocation owns a whole word of the output. Halves of it that lie outside of the range stay as they are.

//!include each_element

// 0: f32; 1: a type of 16 bits
override HALVES: u32 = 0u;

struct Params {
    // Rows to expand, and the first of them in the mask.
    rows: u32,
    row: u32,
    cols: u32,
    // The first element of the output in its panel.
    out_start: u32,
}

@group(0) @binding(0) var<storage, read> values: array<u32>;
// Four words at a time; every row begins with four of its own.
@group(0) @binding(1) var<storage, read> mask: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> offsets: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const PER_INVOCATION = 1u;
const ROW_COLUMNS = 128u;

// How many of the vector's bits are set before the column.
fn set_before(words: vec4<u32>, column: u32) -> u32 {
    let parts = min(max(vec4(column), vec4(0u, 32u, 64u, 96u)) - vec4(0u, 32u, 64u, 96u), vec4(32u));
    // A shift by 32 is none.
    let below = select((vec4(1u) << (parts & vec4(31u))) - vec4(1u), vec4(0xffffffffu), parts == vec4(32u));
    let counts = countOneBits(words & below);
    return counts.x + counts.y + counts.z + counts.w;
}

// An element of the range, as its bits.
fn element(index: u32) -> u32 {
    let row = p.row + index / p.cols;
    let column = index % p.cols;
    let row_words = (p.cols + ROW_COLUMNS - 1u) / ROW_COLUMNS;
    let first = row * row_words;
    let last = first + column / ROW_COLUMNS;
    let within = column % ROW_COLUMNS;
    let words = mask[last];
    if ((words[within >> 5u] >> (within & 31u)) & 1u) == 0u {
        return 0u;
    }
    var at = offsets[row] + set_before(words, within);
    for (var i = first; i < last; i++) {
        let counts = countOneBits(mask[i]);
        at += counts.x + counts.y + counts.z + counts.w;
    }
    if HALVES == 0u {
        return values[at];
    }
    return (values[at >> 1u] >> ((at & 1u) * 16u)) & 0xffffu;
}

// The words of the output that have an element of the range.
fn elements() -> u32 {
    let count = p.rows * p.cols;
    if HALVES == 0u {
        return count;
    }
    return (p.out_start + count + 1u) / 2u - p.out_start / 2u;
}

fn each_element(number: u32) {
    if HALVES == 0u {
        out[p.out_start + number] = element(number);
        return;
    }
    let word = (p.out_start >> 1u) + number;
    let end = p.out_start + p.rows * p.cols;
    let has_low = 2u * word >= p.out_start;
    let has_high = 2u * word + 1u < end;
    var result = 0u;
    if !(has_low && has_high) {
        result = out[word];
    }
    // The low half of the first word may be before the range: this then wraps around, and is not used.
    let source = 2u * word - p.out_start;
    if has_low {
        result = (result & 0xffff0000u) | element(source);
    }
    if has_high {
        result = (result & 0xffffu) | (element(source + 1u) << 16u);
    }
    out[word] = result;
}
