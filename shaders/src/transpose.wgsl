// out[c, r] = x[r, c], in tiles that pass through workgroup memory. As a mirror, only what is below the
// diagonal of a square matrix is carried over, as a rule within the same matrix.

//!include grid

// Whether only r > c is carried over.
override MIRROR: bool = false;
// Whether x is in out's own panel, and the binding of x means nothing.
override IN_PLACE: bool = false;

struct Params {
    // The first row of x and the first column of x to carry over, and how many of each.
    first_row: u32,
    first_col: u32,
    rows: u32,
    cols: u32,
    // Columns of x and of out.
    x_cols: u32,
    out_cols: u32,
    // The first row of x in its panel; the row of out in its panel that takes the first column.
    x_row: u32,
    out_row: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const SIDE = 32u;
const LINES = 8u;
// One column more than is used: rows then start in different banks.
var<workgroup> tile: array<u32, SIDE * (SIDE + 1u)>;

@compute @workgroup_size(SIDE, LINES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let across = (p.cols + SIDE - 1u) / SIDE;
    let down = (p.rows + SIDE - 1u) / SIDE;
    let index = number_of(workgroup, workgroups);
    if index >= across * down {
        return;
    }
    let row = index / across * SIDE;
    let col = index % across * SIDE;
    // A mirror needs no tile that is wholly on or above the diagonal.
    if MIRROR && p.first_row + row + SIDE <= p.first_col + col {
        return;
    }
    for (var line = local.y; line < SIDE; line += LINES) {
        let r = row + line;
        let c = col + local.x;
        if r < p.rows && c < p.cols {
            let i = (p.x_row + r) * p.x_cols + p.first_col + c;
            if IN_PLACE {
                tile[line * (SIDE + 1u) + local.x] = out[i];
            } else {
                tile[line * (SIDE + 1u) + local.x] = x[i];
            }
        }
    }
    workgroupBarrier();
    for (var line = local.y; line < SIDE; line += LINES) {
        let r = row + local.x;
        let c = col + line;
        if r < p.rows && c < p.cols && (!MIRROR || p.first_row + r > p.first_col + c) {
            out[(p.out_row + c) * p.out_cols + p.first_row + r] = tile[local.x * (SIDE + 1u) + line];
        }
    }
}
