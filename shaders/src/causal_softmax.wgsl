// The softmax of scale · x over the columns that a causal query sees, in place, a workgroup for every row.

//!include each_row
//!include softmax

struct Params {
    // Rows of this part, and the first of them in the matrix and in its panel.
    rows: u32,
    first: u32,
    x_row: u32,
    cols: u32,
    // How many columns beyond its own number a row sees.
    ahead: u32,
    // How many columns a row sees at most.
    window: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
var<immediate> p: Params;

alias Value = f32;

fn each_row(row: u32, invocation: u32) {
    let start = (p.x_row + row) * p.cols;
    let end = min(p.first + row + p.ahead + 1u, p.cols);
    let begin = end - min(end, p.window);

    var highest = LOWEST;
    for (var c = begin + invocation; c < end; c += SIZE) {
        highest = max(highest, p.scale * x[start + c]);
    }
    highest = highest_of(highest, invocation);
    var sum = 0.0;
    for (var c = begin + invocation; c < end; c += SIZE) {
        let e = exp_or_nan(p.scale * x[start + c] - highest);
        sum += e;
        x[start + c] = e;
    }
    let share = 1.0 / reduce(sum, invocation);
    for (var c = invocation; c < p.cols; c += SIZE) {
        let seen = c >= begin && c < end;
        x[start + c] = select(0.0, x[start + c] * share, seen);
    }
}
