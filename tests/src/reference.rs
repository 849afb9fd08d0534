//! The pruning operations written down plainly, in f64, to compare devices with.

use espalier_sdk::{Axis, Binary, Reduction, Selection, Unary};

fn unary(f: Unary, x: f32) -> f64 {
    let x = f64::from(x);
    match f {
        Unary::Identity => x,
        Unary::Abs => x.abs(),
        Unary::Square => x * x,
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Silu => x / (1.0 + (-x).exp()),
        Unary::SiluGradient => {
            let gate = 1.0 / (1.0 + (-x).exp());
            gate + x * gate * (1.0 - gate)
        }
    }
}

/// `scale · f(x) + shift`.
pub fn map(f: Unary, x: &[f32], scale: f32, shift: f32) -> Vec<f64> {
    x.iter().map(|x| f64::from(scale) * unary(f, *x) + f64::from(shift)).collect()
}

/// `f(a) ∘ (alpha · b)` for a of `cols` columns and b `[b_rows, b_cols]`.
pub fn zip(
    f: Unary,
    a: &[f32],
    cols: usize,
    op: Binary,
    alpha: f32,
    b: &[f32],
    (b_rows, b_cols): (usize, usize),
) -> Vec<f64> {
    let element = |(i, a): (usize, &f32)| {
        let row = if b_rows == 1 { 0 } else { i / cols };
        let col = if b_cols == 1 { 0 } else { i % cols };
        let (a, b) = (unary(f, *a), f64::from(alpha) * f64::from(b[row * b_cols + col]));
        match op {
            Binary::Add => a + b,
            Binary::Subtract => a - b,
            Binary::Multiply => a * b,
            Binary::Divide => a / b,
            Binary::Minimum => a.min(b),
            Binary::Maximum => a.max(b),
            Binary::Power => a.powf(b),
            Binary::Less => f64::from(u8::from(a < b)),
        }
    };
    a.iter().enumerate().map(element).collect()
}

/// The reduction of x along an axis, started with what `out` holds, or with zeros.
pub fn reduce(f: Reduction, axis: Axis, x: &[f32], cols: usize, out: Option<&[f32]>) -> Vec<f64> {
    let (count, lines) = match axis {
        Axis::EachRow => (x.len() / cols, cols),
        Axis::EachColumn => (cols, x.len() / cols),
    };
    let gather = |line: usize| {
        let elements = (0..lines).map(|i| match axis {
            Axis::EachRow => f64::from(x[line * cols + i]),
            Axis::EachColumn => f64::from(x[i * cols + line]),
        });
        let start = out.map_or(0.0, |out| f64::from(out[line]));
        match f {
            Reduction::Sum => start + elements.sum::<f64>(),
            Reduction::SumAbs => start + elements.map(f64::abs).sum::<f64>(),
            Reduction::SumSquares => start + elements.map(|x| x * x).sum::<f64>(),
            Reduction::MaxAbs => elements.map(f64::abs).fold(start, |a, b| if b > a { b } else { a }),
        }
    };
    (0..count).map(gather).collect()
}

/// The positions of scores from the smallest on: ties in order, NaN last.
pub fn sorted(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (scores[*a], scores[*b]);
        a.is_nan().cmp(&b.is_nan()).then(a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal))
    });
    order
}

/// The mask of a selection, words of 32 columns.
pub fn select(scores: &[f32], cols: usize, selection: Selection) -> Vec<u32> {
    let rows = scores.len() / cols;
    let words = cols.div_ceil(32);
    let mut mask = vec![0; rows * words];
    if let Selection::Whole { count } = selection {
        for at in &sorted(scores)[..count] {
            mask[at / cols * words + at % cols / 32] |= 1 << (at % cols % 32);
        }
        return mask;
    }
    for (row, scores) in scores.chunks(cols).enumerate() {
        let chosen: Vec<usize> = match selection {
            Selection::EachRow { count } => sorted(scores)[..count].to_vec(),
            Selection::Groups { n, m } => {
                let groups = scores.chunks(m).enumerate();
                groups
                    .flat_map(|(g, s)| sorted(s)[..n].iter().map(move |i| g * m + i).collect::<Vec<_>>())
                    .collect()
            }
            Selection::Whole { .. } => unreachable!("it was done above"),
            Selection::RowMass { share } => {
                let limit = f64::from(share) * scores.iter().map(|x| f64::from(*x)).sum::<f64>();
                let mass = |t: f32| scores.iter().filter(|x| **x <= t).map(|x| f64::from(*x)).sum::<f64>();
                (0..cols).filter(|i| mass(scores[*i]) <= limit).collect()
            }
        };
        for col in chosen {
            mask[row * words + col / 32] |= 1 << (col % 32);
        }
    }
    mask
}

/// Every element within `tolerance` of what is expected, relative to numbers over 1.
///
/// # Panics
/// One is not.
#[track_caller]
pub fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: as many elements as expected");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{what}: element {i} is {found}, not {expected}");
    }
}
