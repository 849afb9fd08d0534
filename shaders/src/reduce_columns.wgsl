// out[b, c] (+)= the reduction of x[·, c] over block b of rows. Long columns take two runs: the blocks'
// results are a matrix of few rows, reduced in the same way.
//
// A workgroup gathers a block of rows of 64 columns: 64 × 4 invocations, each every fourth row.

//!include grid
//!include reduction

const BLOCK_ROWS = 512u;
const COLUMNS = 64u;
const LANES = 4u;
// Rows are added up in runs, and the runs then, so that no sum has many terms.
const RUN = 16u;
var<workgroup> partial: array<u32, COLUMNS * LANES>;

@compute @workgroup_size(COLUMNS, LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let strips = (p.cols + COLUMNS - 1u) / COLUMNS;
    let blocks = (p.rows + BLOCK_ROWS - 1u) / BLOCK_ROWS;
    let index = number_of(workgroup, workgroups);
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
        store((p.out_row + block) * p.cols + column, join(low, high));
    }
}
