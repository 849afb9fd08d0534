// One block of SparseGPT's column sweep. A workgroup owns ROWS rows and has a thread for every column;
// a thread keeps its column of those rows in registers. At column i the thread that owns it decides what
// is pruned and shares the errors; every thread to its right makes up for them. U is read once a
// workgroup, row by row.

const WIDTH: u32 = 256u;
const ROWS: u32 = 8u;

struct Params {
    rows: u32,
    cols: u32,
    m: u32,
    n: u32,
}

@group(0) @binding(0) var<storage, read> u: array<f32>;
// The mask of the block's columns, a bit for each; read where there are no groups.
@group(0) @binding(1) var<storage, read> mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> errors: array<f32>;
var<immediate> params: Params;

var<workgroup> shared_errors: array<f32, ROWS>;
var<workgroup> scores: array<f32, WIDTH * ROWS>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) col: u32,
) {
    let first = (id.x + id.y * count.x) * ROWS;
    // Uniform over the workgroup: all of it leaves, or none.
    if first >= params.rows {
        return;
    }
    let rows = min(ROWS, params.rows - first);
    let inside = col < params.cols;

    var mine: array<f32, ROWS>;
    var pruned: array<bool, ROWS>;
    var diagonal = 1.0;
    if inside {
        diagonal = u[col * params.cols + col];
        for (var r = 0u; r < rows; r++) {
            mine[r] = w[(first + r) * params.cols + col];
            if params.m == 0u {
                let word = (first + r) * ((params.cols + 31u) / 32u) + col / 32u;
                pruned[r] = ((mask[word] >> (col % 32u)) & 1u) == 1u;
            }
        }
    }

    for (var i = 0u; i < params.cols; i++) {
        if params.m != 0u && i % params.m == 0u {
            // Scores of the group over what the columns to its left have left of it.
            let in_group = inside && col >= i && col < i + params.m;
            if in_group {
                for (var r = 0u; r < rows; r++) {
                    scores[r * WIDTH + col] = mine[r] * mine[r] / (diagonal * diagonal);
                }
            }
            workgroupBarrier();
            if in_group {
                for (var r = 0u; r < rows; r++) {
                    let own = scores[r * WIDTH + col];
                    var before = 0u;
                    for (var other = i; other < i + params.m; other++) {
                        let score = scores[r * WIDTH + other];
                        before += select(0u, 1u, score < own || (score == own && other < col));
                    }
                    pruned[r] = before < params.n;
                }
            }
        }
        if col == i {
            for (var r = 0u; r < rows; r++) {
                let kept = select(mine[r], 0.0, pruned[r]);
                let error = (mine[r] - kept) / diagonal;
                mine[r] = kept;
                shared_errors[r] = error;
                errors[(first + r) * params.cols + i] = error;
            }
        }
        workgroupBarrier();
        if inside && col > i {
            let factor = u[i * params.cols + col];
            for (var r = 0u; r < rows; r++) {
                mine[r] -= shared_errors[r] * factor;
            }
        }
        workgroupBarrier();
    }

    if inside {
        for (var r = 0u; r < rows; r++) {
            w[(first + r) * params.cols + col] = mine[r];
        }
    }
}
