// Causal attention without a matrix of queries × keys: softmax is kept up to date while the keys stream by
// (Milakov & Gimelshein, 1805.02867; Dao et al., 2205.14135).
//
// A workgroup takes one head and a tile of up to 64 queries of a sequence, and walks the keys that they
// see 32 at a time. Invocation (tx, ty) of 8 × 16 holds the scores of queries 4·ty.. and keys 4·tx.., and of
// the output the same queries' columns 32·c + 4·tx.. for every c.
//
// Keys and values may lie in several panels. A run over one of them takes up what the run before left:
// the output, not yet divided by the sum of weights, and for every query and head that sum and the
// highest score.

//!include grid
//!include slot

override HEAD_DIM: u32 = 64u;
// Whether HEAD_DIM is a multiple of 4: rows and heads then start at a whole vector.
override ALIGNED: bool = true;

struct Params {
    tiles: u32,
    heads: u32,
    // Query heads to a key head.
    group: u32,
    // How many of the last keys a query sees.
    window: u32,
    scale: f32,
    // The bound rows of q, out and state; and where they are in their panels.
    q_first: u32,
    q_rows: u32,
    q_row: u32,
    out_row: u32,
    state_row: u32,
    // The bound rows of k and v, and where they are in their panels.
    k_first: u32,
    k_rows: u32,
    k_row: u32,
    v_row: u32,
}

// A sequence's queries, or 64 of them.
struct Tile {
    // The row of the first one.
    query_row: u32,
    queries: u32,
    // The row of the key at position 0.
    key_row: u32,
    // The position of the first query.
    position: u32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> tiles: array<Tile>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
// For every query and head the highest score and the sum of weights.
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
var<immediate> p: Params;

const KEYS = 32u;
const DEPTH = 16u;
const COLUMNS = 32u;
const SIZE = 128u;
// Below every score. No infinity: drivers may compute as if there were none.
const LOWEST = -1.0e30;
// Not for the host to set.
override CHUNKS: u32 = (HEAD_DIM + COLUMNS - 1u) / COLUMNS;

// Queries [depth][16 groups of four] and after them keys [depth][8 groups of four]; or values [key][8].
var<workgroup> stage: array<vec4<f32>, 384>;
const KEY_STAGE = 256u;
// Weights [key][16 groups of four queries]; before that, what the eight invocations of a query reduce.
var<workgroup> weights: array<vec4<f32>, 512>;

// Four queries' values of four columns.
struct Block {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
}

struct Place {
    tx: u32,
    ty: u32,
    head: u32,
    kv_head: u32,
}

fn q_slot(depth: u32, group: u32) -> u32 {
    return slot(depth, group, 16u);
}

fn k_slot(depth: u32, group: u32) -> u32 {
    return KEY_STAGE + slot(depth, group, 8u);
}

// Whether a row of the tile exists and is bound.
fn has_query(tile: Tile, i: u32) -> bool {
    return i < tile.queries && tile.query_row + i - p.q_first < p.q_rows;
}

const Q = 0u;
const K = 1u;
const V = 2u;

// A vector of q, k or v.
fn vector(operand: u32, at: u32) -> vec4<f32> {
    switch operand {
        case Q: { return q[at]; }
        case K: { return k[at]; }
        default: { return v[at]; }
    }
}

// Four columns of a head, in a row of q, k or v in its panel, which has so many heads.
fn load(operand: u32, row: u32, heads: u32, head: u32, column: u32) -> vec4<f32> {
    let index = (row * heads + head) * HEAD_DIM + column;
    if ALIGNED {
        return vector(operand, index >> 2u);
    }
    var values = vec4(0.0);
    for (var j = 0u; j < 4u && column + j < HEAD_DIM; j++) {
        values[j] = vector(operand, (index + j) >> 2u)[(index + j) & 3u];
    }
    return values;
}

fn load_q(tile: Tile, i: u32, head: u32, column: u32) -> vec4<f32> {
    if !has_query(tile, i) || column >= HEAD_DIM {
        return vec4(0.0);
    }
    return load(Q, p.q_row + tile.query_row + i - p.q_first, p.heads, head, column);
}

// Of K or V, whose rows are numbered as in the whole tensor; from `end` on there is none.
fn load_kv(operand: u32, row: u32, end: u32, kv_head: u32, column: u32) -> vec4<f32> {
    if row >= end || column >= HEAD_DIM {
        return vec4(0.0);
    }
    let first = select(p.v_row, p.k_row, operand == K);
    return load(operand, first + row - p.k_first, p.heads / p.group, kv_head, column);
}

// Stages four rows by four columns, transposed.
fn stage_block(first: u32, r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32>, pitch: u32) {
    stage[first] = vec4(r0.x, r1.x, r2.x, r3.x);
    stage[first + pitch] = vec4(r0.y, r1.y, r2.y, r3.y);
    stage[first + 2u * pitch] = vec4(r0.z, r1.z, r2.z, r3.z);
    stage[first + 3u * pitch] = vec4(r0.w, r1.w, r2.w, r3.w);
}

// The scores of the invocation's four queries (a vector) with each of its four keys.
fn scores(tile: Tile, place: Place, invocation: u32, first_key: u32, end: u32) -> Block {
    var s: Block;
    for (var first = 0u; first < HEAD_DIM; first += DEPTH) {
        let column = first + (invocation & 3u) * 4u;
        let depth = (invocation & 3u) * 4u;
        if invocation < 64u {
            let group = invocation >> 2u;
            stage_block(
                q_slot(depth, group),
                load_q(tile, group * 4u, place.head, column),
                load_q(tile, group * 4u + 1u, place.head, column),
                load_q(tile, group * 4u + 2u, place.head, column),
                load_q(tile, group * 4u + 3u, place.head, column),
                16u,
            );
        } else if invocation < 96u {
            let group = (invocation - 64u) >> 2u;
            let row = first_key + group * 4u;
            stage_block(
                k_slot(depth, group),
                load_kv(K, row, end, place.kv_head, column),
                load_kv(K, row + 1u, end, place.kv_head, column),
                load_kv(K, row + 2u, end, place.kv_head, column),
                load_kv(K, row + 3u, end, place.kv_head, column),
                8u,
            );
        }
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            let queries = stage[q_slot(d, place.ty)];
            let keys = stage[k_slot(d, place.tx)];
            s.r0 += queries * keys.x;
            s.r1 += queries * keys.y;
            s.r2 += queries * keys.z;
            s.r3 += queries * keys.w;
        }
        workgroupBarrier();
    }
    s.r0 *= p.scale;
    s.r1 *= p.scale;
    s.r2 *= p.scale;
    s.r3 *= p.scale;
    return s;
}

// Which of the four queries see the key.
fn visible(tile: Tile, place: Place, row: u32, end: u32) -> vec4<bool> {
    let positions = vec4(tile.position + 4u * place.ty) + vec4(0u, 1u, 2u, 3u);
    let key = row - tile.key_row;
    let near = positions - vec4(key) < vec4(p.window);
    return (vec4(key) <= positions) & near & vec4(row < end);
}

// The weights of four scores, of those that are visible. Selected, not multiplied: a hidden key's score may
// be anything. And a NaN stays one, whatever the driver's exp makes of it.
fn weigh(differences: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
    let is_nan = (bitcast<vec4<u32>>(differences) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
    return select(vec4(0.0), select(exp(differences), differences, is_nan), seen);
}

// Scales what a block of outputs holds and adds the weighted values of the keys.
fn add_values(
    block: ptr<function, Block>,
    chunk: u32,
    place: Place,
    invocation: u32,
    first_key: u32,
    end: u32,
    keep: vec4<f32>,
) {
    for (var j = invocation; j < KEYS * 8u; j += SIZE) {
        stage[j] = load_kv(V, first_key + (j >> 3u), end, place.kv_head, chunk * COLUMNS + (j & 7u) * 4u);
    }
    workgroupBarrier();
    var b = *block;
    b.r0 *= keep.x;
    b.r1 *= keep.y;
    b.r2 *= keep.z;
    b.r3 *= keep.w;
    for (var key = 0u; key < KEYS; key++) {
        let weight = weights[key * 16u + place.ty];
        let values = stage[key * 8u + place.tx];
        b.r0 += weight.x * values;
        b.r1 += weight.y * values;
        b.r2 += weight.z * values;
        b.r3 += weight.w * values;
    }
    *block = b;
    workgroupBarrier();
}

fn out_index(tile: Tile, i: u32, head: u32, column: u32) -> u32 {
    return ((p.out_row + tile.query_row + i - p.q_first) * p.heads + head) * HEAD_DIM + column;
}

fn load_row(tile: Tile, i: u32, head: u32, column: u32) -> vec4<f32> {
    var values = vec4(0.0);
    if has_query(tile, i) {
        let index = out_index(tile, i, head, column);
        if column < HEAD_DIM { values.x = out[index]; }
        if column + 1u < HEAD_DIM { values.y = out[index + 1u]; }
        if column + 2u < HEAD_DIM { values.z = out[index + 2u]; }
        if column + 3u < HEAD_DIM { values.w = out[index + 3u]; }
    }
    return values;
}

fn load_block(tile: Tile, place: Place, chunk: u32) -> Block {
    let column = chunk * COLUMNS + place.tx * 4u;
    let i = place.ty * 4u;
    return Block(
        load_row(tile, i, place.head, column),
        load_row(tile, i + 1u, place.head, column),
        load_row(tile, i + 2u, place.head, column),
        load_row(tile, i + 3u, place.head, column),
    );
}

fn store_row(tile: Tile, i: u32, head: u32, column: u32, values: vec4<f32>) {
    if has_query(tile, i) {
        let index = out_index(tile, i, head, column);
        if column < HEAD_DIM { out[index] = values.x; }
        if column + 1u < HEAD_DIM { out[index + 1u] = values.y; }
        if column + 2u < HEAD_DIM { out[index + 2u] = values.z; }
        if column + 3u < HEAD_DIM { out[index + 3u] = values.w; }
    }
}

fn store_block(tile: Tile, place: Place, chunk: u32, block: Block, factor: vec4<f32>) {
    let column = chunk * COLUMNS + place.tx * 4u;
    let i = place.ty * 4u;
    store_row(tile, i, place.head, column, block.r0 * factor.x);
    store_row(tile, i + 1u, place.head, column, block.r1 * factor.y);
    store_row(tile, i + 2u, place.head, column, block.r2 * factor.z);
    store_row(tile, i + 3u, place.head, column, block.r3 * factor.w);
}

fn state_index(tile: Tile, i: u32, head: u32) -> u32 {
    return ((p.state_row + tile.query_row + i - p.q_first) * p.heads + head) * 2u;
}

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let number = number_of(workgroup, workgroups);
    if number >= p.tiles * p.heads {
        return;
    }
    let tile = tiles[number / p.heads];
    let head = number % p.heads;
    let place = Place(invocation & 7u, invocation >> 3u, head, head / p.group);

    // The rows of keys that any of the tile's queries sees, and those of them that are bound.
    let positions_end = tile.position + tile.queries;
    let all_start = tile.key_row + select(0u, tile.position + 1u - p.window, tile.position >= p.window);
    let all_end = tile.key_row + positions_end;
    let start = max(all_start, p.k_first);
    let end = min(all_end, p.k_first + p.k_rows);
    let queries_bound = tile.query_row < p.q_first + p.q_rows && tile.query_row + tile.queries > p.q_first;
    if start >= end || !queries_bound {
        return;
    }
    let is_first = start == all_start;
    let is_last = end == all_end;

    // Of the invocation's four queries; the sum is only of the invocation's own keys.
    var highest = vec4(LOWEST);
    var sum = vec4(0.0);
    var o0: Block; var o1: Block; var o2: Block; var o3: Block;
    var o4: Block; var o5: Block; var o6: Block; var o7: Block;
    if !is_first {
        for (var j = 0u; j < 4u; j++) {
            let i = place.ty * 4u + j;
            if has_query(tile, i) {
                let index = state_index(tile, i, head);
                highest[j] = state[index];
                sum[j] = select(0.0, state[index + 1u], place.tx == 0u);
            }
        }
        o0 = load_block(tile, place, 0u);
        if CHUNKS > 1u { o1 = load_block(tile, place, 1u); }
        if CHUNKS > 2u { o2 = load_block(tile, place, 2u); }
        if CHUNKS > 3u { o3 = load_block(tile, place, 3u); }
        if CHUNKS > 4u { o4 = load_block(tile, place, 4u); }
        if CHUNKS > 5u { o5 = load_block(tile, place, 5u); }
        if CHUNKS > 6u { o6 = load_block(tile, place, 6u); }
        if CHUNKS > 7u { o7 = load_block(tile, place, 7u); }
    }

    for (var first_key = start; first_key < end; first_key += KEYS) {
        let s = scores(tile, place, invocation, first_key, end);
        let row = first_key + 4u * place.tx;
        let seen0 = visible(tile, place, row, end);
        let seen1 = visible(tile, place, row + 1u, end);
        let seen2 = visible(tile, place, row + 2u, end);
        let seen3 = visible(tile, place, row + 3u, end);

        var top = max(select(vec4(LOWEST), s.r0, seen0), select(vec4(LOWEST), s.r1, seen1));
        top = max(top, max(select(vec4(LOWEST), s.r2, seen2), select(vec4(LOWEST), s.r3, seen3)));
        weights[place.tx * 16u + place.ty] = top;
        workgroupBarrier();
        top = highest;
        for (var j = 0u; j < 8u; j++) {
            top = max(top, weights[j * 16u + place.ty]);
        }
        workgroupBarrier();

        let w0 = weigh(s.r0 - top, seen0);
        let w1 = weigh(s.r1 - top, seen1);
        let w2 = weigh(s.r2 - top, seen2);
        let w3 = weigh(s.r3 - top, seen3);
        let keep = exp(highest - top);
        highest = top;
        sum = sum * keep + ((w0 + w1) + (w2 + w3));
        let slot = 4u * place.tx * 16u + place.ty;
        weights[slot] = w0;
        weights[slot + 16u] = w1;
        weights[slot + 32u] = w2;
        weights[slot + 48u] = w3;
        // The barrier after staging the values is the one that the weights need too.
        add_values(&o0, 0u, place, invocation, first_key, end, keep);
        if CHUNKS > 1u { add_values(&o1, 1u, place, invocation, first_key, end, keep); }
        if CHUNKS > 2u { add_values(&o2, 2u, place, invocation, first_key, end, keep); }
        if CHUNKS > 3u { add_values(&o3, 3u, place, invocation, first_key, end, keep); }
        if CHUNKS > 4u { add_values(&o4, 4u, place, invocation, first_key, end, keep); }
        if CHUNKS > 5u { add_values(&o5, 5u, place, invocation, first_key, end, keep); }
        if CHUNKS > 6u { add_values(&o6, 6u, place, invocation, first_key, end, keep); }
        if CHUNKS > 7u { add_values(&o7, 7u, place, invocation, first_key, end, keep); }
    }

    weights[place.tx * 16u + place.ty] = sum;
    workgroupBarrier();
    sum = weights[place.ty];
    for (var j = 1u; j < 8u; j++) {
        sum += weights[j * 16u + place.ty];
    }
    var factor = vec4(1.0);
    if is_last {
        factor = vec4(1.0) / sum;
    } else if place.tx == 0u {
        for (var j = 0u; j < 4u; j++) {
            let i = place.ty * 4u + j;
            if has_query(tile, i) {
                let index = state_index(tile, i, head);
                state[index] = highest[j];
                state[index + 1u] = sum[j];
            }
        }
    }
    store_block(tile, place, 0u, o0, factor);
    if CHUNKS > 1u { store_block(tile, place, 1u, o1, factor); }
    if CHUNKS > 2u { store_block(tile, place, 2u, o2, factor); }
    if CHUNKS > 3u { store_block(tile, place, 3u, o3, factor); }
    if CHUNKS > 4u { store_block(tile, place, 4u, o4, factor); }
    if CHUNKS > 5u { store_block(tile, place, 5u, o5, factor); }
    if CHUNKS > 6u { store_block(tile, place, 6u, o6, factor); }
    if CHUNKS > 7u { store_block(tile, place, 7u, o7, factor); }
}
