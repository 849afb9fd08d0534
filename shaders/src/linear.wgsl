// y[t, n] = Σ_k x[t, k] · w[n, k]  (+ bias[n]) (+ y[t, n])
//
// A workgroup of GX × GY invocations computes a tile of 4·ROWS·GY tokens × 8·GX outputs, each invocation
// 4·ROWS × 8 of them in registers. Sixteen columns of x and w at a time are staged in workgroup memory,
// transposed, so that with two ROWS a step of k costs four vector loads for 64 multiply-adds.

//!include grid
//!include tiles
//!include slot
//!include operands

override GX: u32 = 16u;
override GY: u32 = 16u;
// Groups of four tokens that an invocation computes: 1, for tiles of few tokens, or 2.
override ROWS: u32 = 2u;

const DEPTH = 16u;

// [k][group of four rows], see `slot`.
var<workgroup> x_tile: array<vec4<f32>, DEPTH * ROWS * GY>;
var<workgroup> w_tile: array<vec4<f32>, DEPTH * 2u * GX>;

fn x_slot(k: u32, group: u32) -> u32 {
    return slot(k, group, ROWS * GY);
}

fn w_slot(k: u32, group: u32) -> u32 {
    return slot(k, group, 2u * GX);
}

fn store4(token: u32, out: u32, values: vec4<f32>) {
    if token >= p.tokens {
        return;
    }
    store(token, out, values.x);
    store(token, out + 1u, values.y);
    store(token, out + 2u, values.z);
    store(token, out + 3u, values.w);
}

@compute @workgroup_size(GX, GY)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let tiles_x = (p.outs + 8u * GX - 1u) / (8u * GX);
    let tiles_y = (p.tokens + 4u * ROWS * GY - 1u) / (4u * ROWS * GY);
    let tile = number_of(workgroup, workgroups);
    if tile >= tiles_x * tiles_y {
        return;
    }
    let corner = tile_place(tile, tiles_x, tiles_y);
    let first_token = corner.x * 4u * ROWS * GY;
    let first_out = corner.y * 8u * GX;

    var a0 = vec4(0.0); var a1 = vec4(0.0); var a2 = vec4(0.0); var a3 = vec4(0.0);
    var a4 = vec4(0.0); var a5 = vec4(0.0); var a6 = vec4(0.0); var a7 = vec4(0.0);
    var b0 = vec4(0.0); var b1 = vec4(0.0); var b2 = vec4(0.0); var b3 = vec4(0.0);
    var b4 = vec4(0.0); var b5 = vec4(0.0); var b6 = vec4(0.0); var b7 = vec4(0.0);

    for (var first_k = 0u; first_k < p.ins; first_k += DEPTH) {
        // Blocks of four rows by four columns; the first 4·ROWS·GY blocks are x's.
        for (var block = invocation; block < 4u * ROWS * GY + 8u * GX; block += GX * GY) {
            let is_x = block < 4u * ROWS * GY;
            let number = select(block - 4u * ROWS * GY, block, is_x);
            let k = (number & 3u) * 4u;
            let group = number >> 2u;
            var r0: vec4<f32>; var r1: vec4<f32>; var r2: vec4<f32>; var r3: vec4<f32>;
            if is_x {
                let row = first_token + group * 4u;
                r0 = load_x(row, first_k + k);
                r1 = load_x(row + 1u, first_k + k);
                r2 = load_x(row + 2u, first_k + k);
                r3 = load_x(row + 3u, first_k + k);
            } else {
                let row = first_out + group * 4u;
                r0 = load_w(row, first_k + k);
                r1 = load_w(row + 1u, first_k + k);
                r2 = load_w(row + 2u, first_k + k);
                r3 = load_w(row + 3u, first_k + k);
            }
            let t0 = vec4(r0.x, r1.x, r2.x, r3.x);
            let t1 = vec4(r0.y, r1.y, r2.y, r3.y);
            let t2 = vec4(r0.z, r1.z, r2.z, r3.z);
            let t3 = vec4(r0.w, r1.w, r2.w, r3.w);
            if is_x {
                x_tile[x_slot(k, group)] = t0;
                x_tile[x_slot(k + 1u, group)] = t1;
                x_tile[x_slot(k + 2u, group)] = t2;
                x_tile[x_slot(k + 3u, group)] = t3;
            } else {
                w_tile[w_slot(k, group)] = t0;
                w_tile[w_slot(k + 1u, group)] = t1;
                w_tile[w_slot(k + 2u, group)] = t2;
                w_tile[w_slot(k + 3u, group)] = t3;
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let x0 = x_tile[x_slot(k, local.y)];
            let w0 = w_tile[w_slot(k, local.x)];
            let w1 = w_tile[w_slot(k, local.x + GX)];
            a0 += x0.x * w0; b0 += x0.x * w1;
            a1 += x0.y * w0; b1 += x0.y * w1;
            a2 += x0.z * w0; b2 += x0.z * w1;
            a3 += x0.w * w0; b3 += x0.w * w1;
            if ROWS == 2u {
                let x1 = x_tile[x_slot(k, local.y + GY)];
                a4 += x1.x * w0; b4 += x1.x * w1;
                a5 += x1.y * w0; b5 += x1.y * w1;
                a6 += x1.z * w0; b6 += x1.z * w1;
                a7 += x1.w * w0; b7 += x1.w * w1;
            }
        }
        workgroupBarrier();
    }

    let token0 = first_token + local.y * 4u;
    let out0 = first_out + local.x * 4u;
    let out1 = out0 + 4u * GX;
    store4(token0, out0, a0); store4(token0, out1, b0);
    store4(token0 + 1u, out0, a1); store4(token0 + 1u, out1, b1);
    store4(token0 + 2u, out0, a2); store4(token0 + 2u, out1, b2);
    store4(token0 + 3u, out0, a3); store4(token0 + 3u, out1, b3);
    if ROWS == 1u {
        return;
    }
    let token1 = token0 + 4u * GY;
    store4(token1, out0, a4); store4(token1, out1, b4);
    store4(token1 + 1u, out0, a5); store4(token1 + 1u, out1, b5);
    store4(token1 + 2u, out0, a6); store4(token1 + 2u, out1, b6);
    store4(token1 + 3u, out0, a7); store4(token1 + 3u, out1, b7);
}
