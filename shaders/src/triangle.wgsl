// The diagonal blocks of the blocked algorithms on triangular matrices, at most 64 × 64, a workgroup each.
//
// As a factorisation: the lower half of a block becomes its Cholesky factor, and the factor's inverse is
// written apart. As an inversion: a lower triangular block becomes its inverse.

//!include grid

// Whether to invert in place instead of factoring.
override INVERT: bool = false;

struct Params {
    // Rows of all blocks; every block but the last has 64.
    rows: u32,
    // Where the first block starts in its panel, how far apart rows are, and how far apart blocks are.
    start: u32,
    stride: u32,
    step: u32,
    // The first block's first row in the whole matrix, to name a pivot.
    first: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
// 64 × 64, row by row; 0 above the diagonal. Untouched by an inversion.
@group(0) @binding(1) var<storage, read_write> inverse: array<f32>;
// Whether a pivot was not positive, its row, and the bits of what was left of it. Once set it stays.
@group(0) @binding(2) var<storage, read_write> status: array<u32>;
var<immediate> p: Params;

const SIDE = 64u;
const SIZE = 256u;

// The lower half holds the block; the upper half takes its inverse, transposed, without the diagonal.
// Columns are mixed with rows, so that neither rows nor columns meet in one bank.
var<workgroup> tile: array<f32, SIDE * SIDE>;

fn at(row: u32, col: u32) -> u32 {
    return row * SIDE + (col ^ row);
}

fn positive(bits: u32) -> bool {
    return bits != 0u && bits < 0x7f800000u;
}

// The Cholesky factor, column by column; what is right of a column is brought up to date with it.
fn factor(width: u32, invocation: u32) {
    for (var k = 0u; k < width; k++) {
        let pivot = tile[at(k, k)];
        let good = positive(bitcast<u32>(pivot));
        let root = sqrt(select(1.0, pivot, good));
        workgroupBarrier();
        if invocation == k {
            tile[at(k, k)] = root;
            if !good && status[0] == 0u {
                status[0] = 1u;
                status[1] = p.first + k;
                status[2] = bitcast<u32>(pivot);
            }
        }
        if invocation > k && invocation < width {
            tile[at(invocation, k)] /= root;
        }
        workgroupBarrier();
        // Four invocations to a row.
        let row = invocation >> 2u;
        if row > k && row < width {
            let own = tile[at(row, k)];
            for (var col = k + 1u + (invocation & 3u); col <= row; col += 4u) {
                tile[at(row, col)] -= own * tile[at(col, k)];
            }
        }
        workgroupBarrier();
    }
}

// The inverse of the lower half, an invocation for every column of it.
fn invert(width: u32, col: u32) {
    if col >= width {
        return;
    }
    let own = 1.0 / tile[at(col, col)];
    for (var row = col + 1u; row < width; row++) {
        var sum = tile[at(row, col)] * own;
        for (var k = col + 1u; k < row; k++) {
            sum += tile[at(row, k)] * tile[at(col, k)];
        }
        tile[at(col, row)] = -sum / tile[at(row, row)];
    }
}

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let block = number_of(workgroup, workgroups);
    if block * SIDE >= p.rows {
        return;
    }
    let width = min(SIDE, p.rows - block * SIDE);
    let start = p.start + block * p.step;
    for (var i = invocation; i < width * SIDE; i += SIZE) {
        let row = i / SIDE;
        let col = i % SIDE;
        if col <= row {
            tile[at(row, col)] = x[start + row * p.stride + col];
        }
    }
    workgroupBarrier();
    if !INVERT {
        factor(width, invocation);
        for (var i = invocation; i < width * SIDE; i += SIZE) {
            let row = i / SIDE;
            let col = i % SIDE;
            if col <= row {
                x[start + row * p.stride + col] = tile[at(row, col)];
            }
        }
    }
    // The lower half is only read from here on; an invocation writes to a row of the upper half.
    invert(width, invocation);
    workgroupBarrier();
    for (var i = invocation; i < SIDE * SIDE; i += SIZE) {
        let row = i / SIDE;
        let col = i % SIDE;
        var value = 0.0;
        if row < width && col == row {
            value = 1.0 / tile[at(row, row)];
        } else if row < width && col < row {
            value = tile[at(col, row)];
        }
        if !INVERT {
            inverse[i] = value;
        } else if row < width && col < width {
            x[start + row * p.stride + col] = value;
        }
    }
}
