// The functions of elements that element-wise kernels and kernels that rank scores are compiled for.

// 0: v, 1: |v|, 2: v², 3: √v, 4: 1 / v
override F: u32 = 0u;
// 0: +, 1: −, 2: ·, 3: /
override OP: u32 = 0u;

fn f(v: f32) -> f32 {
    switch F {
        case 1u: { return abs(v); }
        case 2u: { return v * v; }
        case 3u: { return sqrt(v); }
        case 4u: { return 1.0 / v; }
        default: { return v; }
    }
}

fn op(left: f32, right: f32) -> f32 {
    switch OP {
        case 1u: { return left - right; }
        case 2u: { return left * right; }
        case 3u: { return left / right; }
        default: { return left + right; }
    }
}
