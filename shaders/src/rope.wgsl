// Turns the pair (i, i + head_dim/2) of every head by the angle of the row's position, in place.

//!include each_element

struct Params {
    rows: u32,
    heads: u32,
    head_dim: u32,
    x_row: u32,
    positions_row: u32,
    // Which rows of the table are bound; other positions are left as they are.
    table_start: u32,
    table_rows: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
// Cosines in the left half of a row, sines in the right.
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
var<immediate> p: Params;

const PER_INVOCATION = 1u;

fn elements() -> u32 {
    return p.rows * p.heads * (p.head_dim / 2u);
}

fn each_element(number: u32) {
    let half = p.head_dim / 2u;
    let pairs = p.heads * half;
    let row = number / pairs;
    // Below the first bound row this wraps around, and is past the last one too.
    let position = positions[p.positions_row + row] - p.table_start;
    if position >= p.table_rows {
        return;
    }
    let pair = number % pairs;
    let i = pair % half;
    let left = ((p.x_row + row) * p.heads + pair / half) * p.head_dim + i;
    let cosine = table[position * p.head_dim + i];
    let sine = table[position * p.head_dim + half + i];
    let a = x[left];
    let b = x[left + half];
    x[left] = a * cosine - b * sine;
    x[left + half] = b * cosine + a * sine;
}
