// c[i, j] = alpha · Σ_k a[i, k] · b[k, j] + beta · c[i, j], on rectangles of row-major matrices.
//
// A workgroup of GX × GY invocations computes a tile of 8·GY rows × 8·GX columns, each invocation 8 × 8 of
// them in registers. DEPTH steps of k at a time are staged in workgroup memory, so that a step costs
// four vector loads for 64 multiply-adds.

//!include grid
//!include tiles
//!include slot

// Whether the rectangle of a or b is the transpose of what is meant.
override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = false;
// Whether its start and its stride are multiples of four.
override A_ALIGNED: bool = false;
override B_ALIGNED: bool = false;
// Whether only j <= i + c_diagonal is computed, and the rest of c left alone.
override C_LOWER: bool = false;
// Whether a[i, k] is 0 for k > i + a_diagonal, and b[k, j] for k < j + b_diagonal.
override A_LOWER: bool = false;
override B_LOWER: bool = false;
override GX: u32 = 16u;
override GY: u32 = 16u;
override DEPTH: u32 = 16u;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    // Where the rectangles start in their panels, and how far apart their rows are.
    a_start: u32,
    a_stride: u32,
    b_start: u32,
    b_stride: u32,
    c_start: u32,
    c_stride: u32,
    alpha: f32,
    beta: f32,
    a_diagonal: i32,
    b_diagonal: i32,
    c_diagonal: i32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
var<immediate> p: Params;

// [k][group of four rows of a or columns of b], see `slot`.
var<workgroup> a_tile: array<vec4<f32>, DEPTH * 2u * GY>;
var<workgroup> b_tile: array<vec4<f32>, DEPTH * 2u * GX>;

fn a_slot(k: u32, group: u32) -> u32 {
    return slot(k, group, 2u * GY);
}

fn b_slot(k: u32, group: u32) -> u32 {
    return slot(k, group, 2u * GX);
}

// The first `left` of four numbers; beyond the rectangle are others, which are not to be met.
fn first(v: vec4<f32>, left: u32) -> vec4<f32> {
    return select(vec4(0.0), v, vec4(0u, 1u, 2u, 3u) < vec4(left));
}

// A vector of a or of b.
fn vector(of_a: bool, at: u32) -> vec4<f32> {
    if of_a {
        return a[at];
    }
    return b[at];
}

// Four columns of a stored row of a or of b, from `at` on.
fn load(of_a: bool, line: u32, at: u32) -> vec4<f32> {
    let shape = select(vec2(p.k, p.n), vec2(p.m, p.k), of_a);
    let stored = select(shape, shape.yx, select(B_TRANSPOSED, A_TRANSPOSED, of_a));
    let width = stored.y;
    var v = vec4(0.0);
    if line >= stored.x || at >= width {
        return v;
    }
    let i = select(p.b_start, p.a_start, of_a) + line * select(p.b_stride, p.a_stride, of_a) + at;
    if select(B_ALIGNED, A_ALIGNED, of_a) {
        return first(vector(of_a, i >> 2u), width - at);
    }
    v.x = vector(of_a, i >> 2u)[i & 3u];
    if at + 1u < width { v.y = vector(of_a, (i + 1u) >> 2u)[(i + 1u) & 3u]; }
    if at + 2u < width { v.z = vector(of_a, (i + 2u) >> 2u)[(i + 2u) & 3u]; }
    if at + 3u < width { v.w = vector(of_a, (i + 3u) >> 2u)[(i + 3u) & 3u]; }
    return v;
}

// Where a block of four by four goes that an invocation stages: (group, first k). Neighbouring
// invocations read neighbouring memory.
fn place(number: u32, groups: u32, along_k: bool) -> vec2<u32> {
    if along_k {
        let blocks = DEPTH / 4u;
        return vec2(number / blocks, number % blocks * 4u);
    }
    return vec2(number % groups, number / groups * 4u);
}

fn store(row: u32, col: u32, value: f32) {
    if col >= p.n || (C_LOWER && i32(col) > i32(row) + p.c_diagonal) {
        return;
    }
    let index = p.c_start + row * p.c_stride + col;
    var result = p.alpha * value;
    if p.beta != 0.0 {
        result += p.beta * c[index];
    }
    c[index] = result;
}

fn store4(row: u32, col: u32, values: vec4<f32>) {
    if row >= p.m {
        return;
    }
    store(row, col, values.x);
    store(row, col + 1u, values.y);
    store(row, col + 2u, values.z);
    store(row, col + 3u, values.w);
}

@compute @workgroup_size(GX, GY)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let tiles_x = (p.n + 8u * GX - 1u) / (8u * GX);
    let tiles_y = (p.m + 8u * GY - 1u) / (8u * GY);
    let tile = number_of(workgroup, workgroups);
    if tile >= tiles_x * tiles_y {
        return;
    }
    let corner = tile_place(tile, tiles_x, tiles_y);
    let first_row = corner.x * 8u * GY;
    let first_col = corner.y * 8u * GX;
    let last_row = i32(min(first_row + 8u * GY, p.m)) - 1;
    if C_LOWER && i32(first_col) > last_row + p.c_diagonal {
        return;
    }
    var begin = 0u;
    var end = p.k;
    if B_LOWER {
        begin = u32(clamp(i32(first_col) + p.b_diagonal, 0, i32(p.k))) / DEPTH * DEPTH;
    }
    if A_LOWER {
        end = u32(clamp(last_row + p.a_diagonal + 1, 0, i32(p.k)));
    }

    var c0 = vec4(0.0); var c1 = vec4(0.0); var c2 = vec4(0.0); var c3 = vec4(0.0);
    var c4 = vec4(0.0); var c5 = vec4(0.0); var c6 = vec4(0.0); var c7 = vec4(0.0);
    var d0 = vec4(0.0); var d1 = vec4(0.0); var d2 = vec4(0.0); var d3 = vec4(0.0);
    var d4 = vec4(0.0); var d5 = vec4(0.0); var d6 = vec4(0.0); var d7 = vec4(0.0);

    for (var first_k = begin; first_k < end; first_k += DEPTH) {
        // Blocks of four by four; a's come first.
        let a_blocks = 2u * GY * (DEPTH / 4u);
        for (var block = invocation; block < a_blocks + 2u * GX * (DEPTH / 4u); block += GX * GY) {
            let is_a = block < a_blocks;
            var r0: vec4<f32>; var r1: vec4<f32>; var r2: vec4<f32>; var r3: vec4<f32>;
            var group: u32;
            var k: u32;
            var along_k: bool;
            if is_a {
                along_k = !A_TRANSPOSED;
                let at = place(block, 2u * GY, along_k);
                group = at.x;
                k = at.y;
                let row = first_row + group * 4u;
                let line = select(first_k + k, row, along_k);
                let column = select(row, first_k + k, along_k);
                r0 = load(true, line, column);
                r1 = load(true, line + 1u, column);
                r2 = load(true, line + 2u, column);
                r3 = load(true, line + 3u, column);
            } else {
                along_k = B_TRANSPOSED;
                let at = place(block - a_blocks, 2u * GX, along_k);
                group = at.x;
                k = at.y;
                let col = first_col + group * 4u;
                let line = select(first_k + k, col, along_k);
                let column = select(col, first_k + k, along_k);
                r0 = load(false, line, column);
                r1 = load(false, line + 1u, column);
                r2 = load(false, line + 2u, column);
                r3 = load(false, line + 3u, column);
            }
            var t0 = r0; var t1 = r1; var t2 = r2; var t3 = r3;
            if along_k {
                t0 = vec4(r0.x, r1.x, r2.x, r3.x);
                t1 = vec4(r0.y, r1.y, r2.y, r3.y);
                t2 = vec4(r0.z, r1.z, r2.z, r3.z);
                t3 = vec4(r0.w, r1.w, r2.w, r3.w);
            }
            if is_a {
                a_tile[a_slot(k, group)] = t0;
                a_tile[a_slot(k + 1u, group)] = t1;
                a_tile[a_slot(k + 2u, group)] = t2;
                a_tile[a_slot(k + 3u, group)] = t3;
            } else {
                b_tile[b_slot(k, group)] = t0;
                b_tile[b_slot(k + 1u, group)] = t1;
                b_tile[b_slot(k + 2u, group)] = t2;
                b_tile[b_slot(k + 3u, group)] = t3;
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let a0 = a_tile[a_slot(k, local.y)];
            let a1 = a_tile[a_slot(k, local.y + GY)];
            let b0 = b_tile[b_slot(k, local.x)];
            let b1 = b_tile[b_slot(k, local.x + GX)];
            c0 += a0.x * b0; d0 += a0.x * b1;
            c1 += a0.y * b0; d1 += a0.y * b1;
            c2 += a0.z * b0; d2 += a0.z * b1;
            c3 += a0.w * b0; d3 += a0.w * b1;
            c4 += a1.x * b0; d4 += a1.x * b1;
            c5 += a1.y * b0; d5 += a1.y * b1;
            c6 += a1.z * b0; d6 += a1.z * b1;
            c7 += a1.w * b0; d7 += a1.w * b1;
        }
        workgroupBarrier();
    }

    let row0 = first_row + local.y * 4u;
    let row1 = row0 + 4u * GY;
    let col0 = first_col + local.x * 4u;
    let col1 = col0 + 4u * GX;
    store4(row0, col0, c0); store4(row0, col1, d0);
    store4(row0 + 1u, col0, c1); store4(row0 + 1u, col1, d1);
    store4(row0 + 2u, col0, c2); store4(row0 + 2u, col1, d2);
    store4(row0 + 3u, col0, c3); store4(row0 + 3u, col1, d3);
    store4(row1, col0, c4); store4(row1, col1, d4);
    store4(row1 + 1u, col0, c5); store4(row1 + 1u, col1, d5);
    store4(row1 + 2u, col0, c6); store4(row1 + 2u, col1, d6);
    store4(row1 + 3u, col0, c7); store4(row1 + 3u, col1, d7);
}
