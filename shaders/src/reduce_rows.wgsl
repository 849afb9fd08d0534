// out[r] (+)= the reduction of x[r, ·], a workgroup for every row.

//!include each_row
//!include reduction
//!include reduce

alias Value = u32;

fn each_row(row: u32, invocation: u32) {
    let start = (p.x_row + row) * p.cols;
    // Four partial results keep loads in flight and shorten the chain of additions.
    var a = 0u; var b = 0u; var c = 0u; var d = 0u;
    var column = invocation;
    for (; column + 3u * SIZE < p.cols; column += 4u * SIZE) {
        a = join(a, term(x[start + column]));
        b = join(b, term(x[start + column + SIZE]));
        c = join(c, term(x[start + column + 2u * SIZE]));
        d = join(d, term(x[start + column + 3u * SIZE]));
    }
    for (; column < p.cols; column += SIZE) {
        a = join(a, term(x[start + column]));
    }
    let result = reduce(join(join(a, b), join(c, d)), invocation);
    if invocation == 0u {
        store(p.out_row + row, result);
    }
}
