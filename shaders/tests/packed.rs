//! Weights without their zeros multiply as those with them do, bit for bit.

use espalier_shaders::{
    Compute, Floats, FloatsMut, Packed, PackedError, Weights, count_kept, linear, mask_bytes, split_row,
};
use half::{bf16, f16};
use proptest::prelude::*;

/// A matrix in one type, and its parts without the zeros.
struct Matrix<T> {
    dense: Vec<T>,
    values: Vec<T>,
    mask: Vec<u8>,
    offsets: Vec<u64>,
}

fn matrix<T: Copy>(dense: Vec<T>, cols: usize, is_zero: impl Fn(T) -> bool) -> Matrix<T> {
    let (mut values, mut mask, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for row in dense.chunks_exact(cols) {
        offsets.push(values.len() as u64);
        let mut bits = vec![0u8; mask_bytes(cols)];
        for (col, &x) in row.iter().enumerate().filter(|(_, x)| !is_zero(**x)) {
            bits[col / 8] |= 1 << (col % 8);
            values.push(x);
        }
        mask.extend(bits);
    }
    Matrix { dense, values, mask, offsets }
}

/// Numbers of which so many are zero, in some rows all and in some none. One zero is negative, and so kept.
fn numbers(rows: usize, cols: usize, zeros: f64) -> Vec<f32> {
    let mut state = 88_172_645_463_325_252u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut x: Vec<f32> = (0..rows * cols)
        .map(|at| {
            let (zero, x) = (draw() < zeros, draw() as f32 - 0.5);
            match at / cols % 5 {
                1 => 0.0,
                2 => x,
                _ if zero => 0.0,
                _ => x,
            }
        })
        .collect();
    x[0] = -0.0;
    x
}

fn product(w: Weights, compute: Compute, x: &[f32], tokens: usize, start: &[f32]) -> Vec<u32> {
    let mut y = start.to_vec();
    let input = linear::Input { x, tokens, inputs: x.len() / tokens, norm: None };
    linear::cpu(
        input,
        compute,
        &mut [linear::Layer { w, bias: None, onto: linear::Onto::Gate { w, bias: None }, y: &mut y }],
    );
    y.into_iter().map(f32::to_bits).collect()
}

#[test]
fn products_are_those_of_the_dense_matrix() {
    for (rows, cols) in [(9, 1), (5, 31), (17, 32), (6, 77), (35, 200), (4, 1000)] {
        let wide = numbers(rows, cols, 0.6);
        let f32s = matrix(wide.clone(), cols, |x| x.to_bits() == 0);
        let f16s = matrix(wide.iter().map(|x| f16::from_f32(*x)).collect(), cols, |x| x.to_bits() == 0);
        let bf16s = matrix(wide.iter().map(|x| bf16::from_f32(*x)).collect(), cols, |x| x.to_bits() == 0);
        let pairs = [
            (
                Floats::F32(&f32s.dense),
                Packed::new(Floats::F32(&f32s.values), &f32s.mask, &f32s.offsets, cols),
            ),
            (
                Floats::F16(&f16s.dense),
                Packed::new(Floats::F16(&f16s.values), &f16s.mask, &f16s.offsets, cols),
            ),
            (
                Floats::BF16(&bf16s.dense),
                Packed::new(Floats::BF16(&bf16s.values), &bf16s.mask, &bf16s.offsets, cols),
            ),
        ];
        for (dense, packed) in pairs {
            packed.check().unwrap();
            for tokens in [1, 2, 3, 4, 7, linear::FEW_TOKENS, linear::FEW_TOKENS + 9] {
                let (x, start) = (numbers(tokens, cols, 0.0), numbers(tokens, rows, 0.0));
                for compute in Compute::ALL {
                    let [one, other] = [dense.into(), Weights::Packed(packed)]
                        .map(|w| product(w, compute, &x, tokens, &start));
                    assert!(one == other, "{rows} x {cols}, {tokens} tokens in {compute}");
                }
            }
        }
    }
}

/// A token's product does not depend on how many others there are.
#[test]
fn tokens_do_not_see_each_other() {
    let (outputs, inputs) = (21, 333);
    let wide = numbers(outputs, inputs, 0.3);
    let brain: Vec<bf16> = wide.iter().map(|x| bf16::from_f32(*x)).collect();
    let (x, start) = (numbers(linear::FEW_TOKENS, inputs, 0.0), numbers(linear::FEW_TOKENS, outputs, 0.0));
    for w in [Floats::F32(&wide), Floats::BF16(&brain)] {
        let of = |tokens: usize| {
            product(w.into(), Compute::F32, &x[..tokens * inputs], tokens, &start[..tokens * outputs])
        };
        let all = of(linear::FEW_TOKENS);
        for tokens in 1..linear::FEW_TOKENS {
            assert!(of(tokens) == all[..tokens * outputs], "{tokens}");
        }
    }
}

/// Rows of every length at every place in memory, and too little room.
#[test]
fn rows_are_split_and_put_together_again() {
    fn check<const N: usize>(bytes: &[u8], cols: usize) {
        let (row, _) = bytes.as_chunks::<N>();
        let row = &row[..cols];
        let kept: Vec<_> = row.iter().copied().filter(|element| *element != [0; N]).collect();
        assert_eq!(count_kept(row), kept.len());
        for room in [kept.len(), kept.len() / 2, kept.len() + 3] {
            let mut values = vec![[0xaa; N]; room];
            let mut mask = vec![0xff; mask_bytes(cols)];
            assert_eq!(split_row(row, &mut values, &mut mask), kept.len());
            let here = room.min(kept.len());
            assert!(values[..here] == kept[..here], "{cols} of {N} bytes with room for {room}");
            let set = (0..8 * mask.len()).map(|at| mask[at / 8] >> (at % 8) & 1 == 1);
            let expected = row.iter().map(|element| *element != [0; N]).chain(std::iter::repeat(false));
            assert!(set.zip(expected).all(|(set, expected)| set == expected), "{cols} of {N} bytes");
        }
    }
    let bytes: Vec<u8> = numbers(6, 130, 0.6).into_iter().flat_map(f32::to_le_bytes).collect();
    for cols in (0..70).chain([96, 127, 128, 129]) {
        for start in [0, 1, 600] {
            check::<2>(&bytes[start..], cols);
            check::<4>(&bytes[start..], cols);
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_told() {
    let wide = numbers(6, 13, 0.5);
    let good = matrix(wide, 13, |x| x.to_bits() == 0);
    let check = |values: &[f32], mask: &[u8], offsets: &[u64]| {
        Packed::new(Floats::F32(values), mask, offsets, 13).check()
    };
    check(&good.values, &good.mask, &good.offsets).unwrap();
    let mut offsets = good.offsets.clone();
    offsets[3] += 1;
    assert!(matches!(check(&good.values, &good.mask, &offsets), Err(PackedError::Offset { row: 3, .. })));
    let mut mask = good.mask.clone();
    mask[5] |= 0x20;
    assert_eq!(check(&good.values, &mask, &good.offsets), Err(PackedError::Beyond { row: 2 }));
    let shorter = &good.values[1..];
    assert!(matches!(check(shorter, &good.mask, &good.offsets), Err(PackedError::Values { .. })));
}

proptest! {
    /// Masks and offsets that lie make other numbers and nothing worse: values that are not there count as zeros.
    #[test]
    fn nothing_outside_is_read(
        cols in 1usize..100,
        offsets in prop::collection::vec(prop_oneof![0u64..200, any::<u64>()], 1..6),
        seed in any::<u64>(),
        count in 0usize..150,
    ) {
        let bits = (0..offsets.len() * mask_bytes(cols)).map(|at| (seed.rotate_left(at as u32 * 7) >> 5) as u8);
        let mask: Vec<u8> = bits.collect();
        let wide = numbers(1, count + 1, 0.0);
        let brain: Vec<bf16> = wide[1..].iter().map(|x| bf16::from_f32(*x)).collect();
        let half: Vec<f16> = wide[1..].iter().map(|x| f16::from_f32(*x)).collect();
        let (x, start) = (numbers(3, cols, 0.0), numbers(3, offsets.len(), 0.0));
        let mut f32s = vec![0.0; offsets.len() * cols];
        let mut f16s = vec![f16::ZERO; f32s.len()];
        let mut bf16s = vec![bf16::ZERO; f32s.len()];
        for values in [Floats::F32(&wide[1..]), Floats::F16(&half), Floats::BF16(&brain)] {
            let packed = Packed::new(values, &mask, &offsets, cols);
            let dense = match values {
                Floats::F32(_) => {
                    packed.expand(0..offsets.len(), FloatsMut::F32(&mut f32s));
                    Floats::F32(&f32s)
                }
                Floats::F16(_) => {
                    packed.expand(0..offsets.len(), FloatsMut::F16(&mut f16s));
                    Floats::F16(&f16s)
                }
                Floats::BF16(_) => {
                    packed.expand(0..offsets.len(), FloatsMut::BF16(&mut bf16s));
                    Floats::BF16(&bf16s)
                }
            };
            for tokens in [1, 3] {
                let [one, other] = [dense.into(), Weights::Packed(packed)].map(|w| {
                    product(w, Compute::F32, &x[..tokens * cols], tokens, &start[..tokens * offsets.len()])
                });
                prop_assert!(one == other);
            }
        }
    }
}
