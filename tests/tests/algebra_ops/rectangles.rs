use crate::on_every_device;
use espalier_host::device::{DType, Op};
use espalier_tests::random::Random;

const SHAPES: [(usize, usize); 6] = [(1, 1), (3, 17), (31, 64), (65, 200), (600, 33), (9, 1000)];

#[test]
fn rectangles_are_copied_in_every_type() {
    on_every_device(4096, |under| {
        let mut random = Random::new(1);
        for dtype in [DType::F32, DType::U32, DType::BF16] {
            let size = dtype.size();
            let (x_shape, out_shape) = ((50, 42), (70, 38));
            let bytes: Vec<u8> = (0..x_shape.0 * x_shape.1 * size).map(|_| random.bits() as u8).collect();
            let x = under.device().upload(dtype, x_shape.0, x_shape.1, bytes.clone().into()).expect("memory");
            for (from, to, rows, cols) in
                [((0, 0), (0, 0), 50, 38), ((3, 4), (20, 2), 45, 30), ((1, 2), (0, 6), 0, 4)]
            {
                let mut out = under.unwritten(dtype, out_shape.0, out_shape.1);
                let (rows_of_x, cols_of_x) = (from.0..from.0 + rows, from.1..from.1 + cols);
                let operand = x.block(rows_of_x, cols_of_x);
                under.device().execute(Op::Copy { from: operand, to }, &mut out).expect("it runs");
                for (at, found) in under.bytes(&out).chunks(size).enumerate() {
                    let (row, col) = (at / out_shape.1, at % out_shape.1);
                    let inside = (to.0..to.0 + rows).contains(&row) && (to.1..to.1 + cols).contains(&col);
                    let place =
                        |row: usize, col: usize| (row - to.0 + from.0) * x_shape.1 + col - to.1 + from.1;
                    match inside {
                        true => assert_eq!(found, &bytes[place(row, col) * size..][..size], "{}", under.what),
                        false => assert!(found.iter().all(|&byte| byte == 0xff), "{}", under.what),
                    }
                }
            }
        }
    });
}

#[test]
fn transposes_and_reversals_move_every_element() {
    on_every_device(4096, |under| {
        for (rows, cols) in SHAPES {
            let x: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let tensor = under.f32(rows, cols, &x);
            let mut out = under.f32(rows, cols, &x);
            under.device().execute(Op::Reverse {}, &mut out).expect("it runs");
            let what = format!("{}: {rows}x{cols}", under.what);
            assert!(under.output(&out).iter().eq(x.iter().rev()), "{what}");
            let mut out = under.unwritten(DType::F32, cols, rows);
            under.device().execute(Op::Transpose { x: &tensor }, &mut out).expect("it runs");
            for (at, found) in under.output(&out).into_iter().enumerate() {
                assert_eq!(found, x[at % rows * cols + at / rows], "{what}");
            }
        }
    });
}

#[test]
fn diagonals_are_taken_and_added_to() {
    on_every_device(4096, |under| {
        for side in [1, 17, 300] {
            let x: Vec<f32> = (0..side * side).map(|i| i as f32).collect();
            let mut tensor = under.f32(side, side, &x);
            let mut out = under.unwritten(DType::F32, 1, side);
            under.device().execute(Op::Diagonal { x: &tensor }, &mut out).expect("it runs");
            let diagonal: Vec<f32> = x.iter().step_by(side + 1).copied().collect();
            assert_eq!(under.output(&out), diagonal, "{}", under.what);
            let d = under.f32(1, side, &vec![0.5; side]);
            under.device().execute(Op::AddDiagonal { d: &d }, &mut tensor).expect("it runs");
            for (at, found) in under.output(&tensor).into_iter().enumerate() {
                let added = if at % (side + 1) == 0 { 0.5 } else { 0.0 };
                assert_eq!(found, x[at] + added, "{}: {at}", under.what);
            }
        }
    });
}
