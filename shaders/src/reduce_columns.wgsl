// out[b, c] (+)= the reduction of x[·, c] over block b of rows. Long columns take two runs: the blocks'
// results are a matrix of few rows, reduced in the same way.
//
// A workgroup gathers a block of rows of 64 columns: 64 × 4 invocations, each every fourth row.

// 0: Σ x, 1: Σ |x|, 2: Σ x², 3: max |x|
override F: u32 = 0u;
override ACCUMULATE: bool = false;

struct Params {
    rows: u32,
    cols: u32,
    // The first row of x and out in their panels.
    x_row: u32,
    out_row: u32,
}

// Numbers travel as their bits: no driver can then change a NaN on its way.
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const BLOCK_ROWS = 512u;
const COLUMNS = 64u;
const LANES = 4u;
// Rows are added up in runs, and the runs then, so that no sum has many terms.
const RUN = 16u;
var<workgroup> partial: array<u32, COLUMNS * LANES>;

fn term(bits: u32) -> u32 {
    let v = bitcast<f32>(bits);
    switch F {
        case 1u: { return bits & 0x7fffffffu; }
        case 2u: { return bitcast<u32>(v * v); }
        case 3u: { return bits & 0x7fffffffu; }
        default: { return bits; }
    }
}

fn join(left: u32, right: u32) -> u32 {
    if F == 3u {
        // As bits, absolute values compare as numbers do, with NaN above infinity.
        return max(left, right & 0x7fffffffu);
    }
    return bitcast<u32>(bitcast<f32>(left) + bitcast<f32>(right));
}

@compute @workgroup_size(COLUMNS, LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let strips = (p.cols + COLUMNS - 1u) / COLUMNS;
    let blocks = (p.rows + BLOCK_ROWS - 1u) / BLOCK_ROWS;
    let index = workgroup.x + workgroup.y * workgroups.x;
    if index >= strips * blocks {
        return;
    }
    let block = index / strips;
    let column = (index % strips) * COLUMNS + local.x;
    let end = min((block + 1u) * BLOCK_ROWS, p.rows);
    var total = 0u;
    if column < p.cols {
        var row = block * BLOCK_ROWS + local.y;
        for (; row < end; row += LANES * RUN) {
            var run = 0u;
            for (var r = row; r < min(row + LANES * RUN, end); r += LANES) {
                run = join(run, term(x[(p.x_row + r) * p.cols + column]));
            }
            total = join(total, run);
        }
    }
    partial[local.y * COLUMNS + local.x] = total;
    workgroupBarrier();
    if local.y == 0u && column < p.cols {
        let low = join(partial[local.x], partial[COLUMNS + local.x]);
        let high = join(partial[2u * COLUMNS + local.x], partial[3u * COLUMNS + local.x]);
        var result = join(low, high);
        let target_index = (p.out_row + block) * p.cols + column;
        if ACCUMULATE {
            result = join(result, out[target_index]);
        }
        out[target_index] = result;
    }
}
