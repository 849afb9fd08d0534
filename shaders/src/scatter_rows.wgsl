// out[places[r], c] = x[r, c], an invocation for every element of x.

//!include each_element

struct Params {
    rows: u32,
    cols: u32,
    x_row: u32,
    places_row: u32,
    // Which rows of out are bound; others are left as they are.
    out_start: u32,
    out_rows: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
var<immediate> p: Params;

const PER_INVOCATION = 1u;

fn elements() -> u32 {
    return p.rows * p.cols;
}

fn each_element(number: u32) {
    let row = number / p.cols;
    // Below the first bound row this wraps around, and is past the last one too.
    let place = places[p.places_row + row] - p.out_start;
    if place >= p.out_rows {
        return;
    }
    let column = number % p.cols;
    out[place * p.cols + column] = x[(p.x_row + row) * p.cols + column];
}
