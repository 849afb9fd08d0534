// The functions of elements that element-wise kernels and kernels that rank scores are compiled for.

// 0: v, 1: |v|, 2: v², 3: √v, 4: 1 / v, 5: eᵛ, 6: ln v, 7: SiLU, 8: its derivative
override F: u32 = 0u;
// 0: +, 1: −, 2: ·, 3: /, 4: the lesser, 5: the greater, 6: leftʳⁱᵍʰᵗ, 7: 1 where left < right
override OP: u32 = 0u;

fn f(v: f32) -> f32 {
    switch F {
        case 1u: { return abs(v); }
        case 2u: { return v * v; }
        case 3u: { return sqrt(v); }
        case 4u: { return 1.0 / v; }
        case 5u: { return exp(v); }
        case 6u: { return log(v); }
        case 7u: { return v / (1.0 + exp(-v)); }
        case 8u: {
            let gate = 1.0 / (1.0 + exp(-v));
            return gate * (1.0 + v * (1.0 - gate));
        }
        default: { return v; }
    }
}

fn op(left: f32, right: f32) -> f32 {
    switch OP {
        case 1u: { return left - right; }
        case 2u: { return left * right; }
        case 3u: { return left / right; }
        case 4u: { return select(right, left, left < right); }
        case 5u: { return select(right, left, left > right); }
        // `pow` is undefined for a base of 0 on some devices.
        case 6u: { return select(select(pow(left, right), 0.0, left == 0.0), 1.0, right == 0.0); }
        case 7u: { return select(0.0, 1.0, left < right); }
        default: { return left + right; }
    }
}
