// The second operand of an element-wise kernel, repeated where it is smaller than the first. The kernel declares the binding `b`
// and the parameters `cols` and `b_row`, the first row of b in its panel; 0 where b is repeated for every row.

// 0: b is as large, 1: b is a row, 2: b is a column, 3: b is a number
override REPEAT: u32 = 0u;

fn load_b(i: u32) -> f32 {
    switch REPEAT {
        case 1u: { return b[i % p.cols]; }
        case 2u: { return b[p.b_row + i / p.cols]; }
        case 3u: { return b[0]; }
        default: { return b[p.b_row * p.cols + i]; }
    }
}
