//! Operations taken apart into a name, tensors and numbers: the form in which they cross the FFI boundary, and in which
//! one kind of tensor is replaced by another.

use crate::{AttentionShape, Axis, Binary, Block, Reduction, Scores, Selection, Span, Unary, Within};
use std::fmt;

/// An operation taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed<T> {
    /// Its name.
    pub name: &'static str,
    /// Its inputs, in order.
    pub tensors: Vec<T>,
    /// Its numbers, in order.
    pub numbers: Vec<u64>,
}

impl<T> Packed<T> {
    pub(crate) fn put(&mut self, number: &impl Number) {
        number.put(&mut self.numbers);
    }
}

/// Why an operation cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnpackError {
    /// There is no operation of this name.
    Unknown(String),
    /// The operation of this name does not have these inputs and numbers.
    Misshapen(String),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "the operation `{name}` is not supported"),
            Self::Misshapen(name) => {
                write!(f, "the operation `{name}` is supported, but not with these inputs and numbers")
            }
        }
    }
}

impl std::error::Error for UnpackError {}

/// Reads the parts of an operation in order.
pub(crate) struct Reader<'a, T> {
    name: &'a str,
    tensors: std::slice::Iter<'a, T>,
    numbers: std::slice::Iter<'a, u64>,
}

impl<'a, T: Copy> Reader<'a, T> {
    pub(crate) fn new(name: &'a str, tensors: &'a [T], numbers: &'a [u64]) -> Self {
        Self { name, tensors: tensors.iter(), numbers: numbers.iter() }
    }

    fn misshapen(&self) -> UnpackError {
        UnpackError::Misshapen(self.name.to_owned())
    }

    fn tensor(&mut self) -> Result<T, UnpackError> {
        self.tensors.next().copied().ok_or_else(|| self.misshapen())
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Result<(), UnpackError> {
        match (self.tensors.len(), self.numbers.len()) {
            (0, 0) => Ok(()),
            _ => Err(self.misshapen()),
        }
    }
}

/// An operand that holds tensors.
pub(crate) trait Operand<T>: Sized {
    fn push(&self, to: &mut Packed<T>);
    fn pull(from: &mut Reader<'_, T>) -> Result<Self, UnpackError>;
}

impl<T: Copy> Operand<T> for T {
    fn push(&self, to: &mut Packed<T>) {
        to.tensors.push(*self);
    }

    fn pull(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        from.tensor()
    }
}

impl<T: Copy> Operand<T> for Scores<T> {
    fn push(&self, to: &mut Packed<T>) {
        to.put(&self.f);
        to.tensors.push(self.a);
        to.put(&self.by.map(|(op, _)| op));
        to.tensors.extend(self.by.map(|(_, row)| row));
    }

    fn pull(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        let (f, a) = (Number::take(from)?, from.tensor()?);
        let by = match Number::take(from)? {
            Some(op) => Some((op, from.tensor()?)),
            None => None,
        };
        Ok(Self { f, a, by })
    }
}

impl<T: Copy> Operand<T> for Block<T> {
    fn push(&self, to: &mut Packed<T>) {
        to.tensors.push(self.tensor);
        to.put(&[self.row, self.col, self.rows, self.cols]);
        to.put(&self.transposed);
    }

    fn pull(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        let tensor = from.tensor()?;
        let [row, col, rows, cols] = Number::take(from)?;
        Ok(Self { tensor, row, col, rows, cols, transposed: Number::take(from)? })
    }
}

/// A parameter that is made of numbers.
pub(crate) trait Number: Sized {
    fn put(&self, to: &mut Vec<u64>);
    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError>;
}

impl Number for u64 {
    fn put(&self, to: &mut Vec<u64>) {
        to.push(*self);
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        from.numbers.next().copied().ok_or_else(|| from.misshapen())
    }
}

impl Number for usize {
    fn put(&self, to: &mut Vec<u64>) {
        to.push(*self as u64);
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        Self::try_from(u64::take(from)?).map_err(|_| from.misshapen())
    }
}

/// As their bits, so that NaN survives.
impl Number for f32 {
    fn put(&self, to: &mut Vec<u64>) {
        to.push(self.to_bits().into());
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        u32::try_from(u64::take(from)?).map(Self::from_bits).map_err(|_| from.misshapen())
    }
}

impl Number for bool {
    fn put(&self, to: &mut Vec<u64>) {
        to.push((*self).into());
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        match u64::take(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(from.misshapen()),
        }
    }
}

impl<const N: usize> Number for [usize; N] {
    fn put(&self, to: &mut Vec<u64>) {
        self.iter().for_each(|number| number.put(to));
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = Number::take(from)?;
        }
        Ok(numbers)
    }
}

impl Number for (usize, usize) {
    fn put(&self, to: &mut Vec<u64>) {
        [self.0, self.1].put(to);
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        let [first, second] = Number::take(from)?;
        Ok((first, second))
    }
}

impl<N: Number> Number for Option<N> {
    fn put(&self, to: &mut Vec<u64>) {
        self.is_some().put(to);
        if let Some(number) = self {
            number.put(to);
        }
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        Ok(if bool::take(from)? { Some(N::take(from)?) } else { None })
    }
}

/// Enums as their numbers.
macro_rules! codes {
    ($($Enum:ident { $($variant:ident),* })*) => {
        $( impl Number for $Enum {
            fn put(&self, to: &mut Vec<u64>) {
                to.push(*self as u64);
            }

            fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
                let code = u64::take(from)?;
                $( if code == Self::$variant as u64 {
                    return Ok(Self::$variant);
                } )*
                Err(from.misshapen())
            }
        } )*
    };
}

codes! {
    Unary { Identity, Abs, Square, Sqrt, Reciprocal, Exp, Log, Silu, SiluGradient }
    Binary { Add, Subtract, Multiply, Divide, Minimum, Maximum, Power, Less }
    Reduction { Sum, SumAbs, SumSquares, MaxAbs }
    Axis { EachRow, EachColumn }
    Within { EachRow, Whole }
}

/// A kind and its numbers.
impl Number for Selection {
    fn put(&self, to: &mut Vec<u64>) {
        match *self {
            Self::EachRow { count } => [0, count].put(to),
            Self::Groups { n, m } => [1, n, m].put(to),
            Self::RowMass { share } => {
                2usize.put(to);
                share.put(to);
            }
            Self::Whole { count } => [3, count].put(to),
        }
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        Ok(match u64::take(from)? {
            0 => Self::EachRow { count: Number::take(from)? },
            1 => Self::Groups { n: Number::take(from)?, m: Number::take(from)? },
            2 => Self::RowMass { share: Number::take(from)? },
            3 => Self::Whole { count: Number::take(from)? },
            _ => return Err(from.misshapen()),
        })
    }
}

impl Number for AttentionShape {
    fn put(&self, to: &mut Vec<u64>) {
        let Self { heads, kv_heads, head_dim, scale, window } = *self;
        [heads, kv_heads, head_dim].put(to);
        scale.put(to);
        window.put(to);
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        let [heads, kv_heads, head_dim] = Number::take(from)?;
        Ok(Self { heads, kv_heads, head_dim, scale: Number::take(from)?, window: Number::take(from)? })
    }
}

impl Number for Vec<Span> {
    fn put(&self, to: &mut Vec<u64>) {
        self.len().put(to);
        for &Span { query_start, queries, key_start, keys } in self {
            [query_start, queries, key_start, keys].put(to);
        }
    }

    fn take<T: Copy>(from: &mut Reader<'_, T>) -> Result<Self, UnpackError> {
        // Not taken at its word: memory is asked for as numbers are read.
        let count = usize::take(from)?;
        let mut spans = Self::new();
        for _ in 0..count {
            let [query_start, queries, key_start, keys] = Number::take(from)?;
            spans.push(Span { query_start, queries, key_start, keys });
        }
        Ok(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Op;

    fn examples() -> Vec<Op<u64>> {
        let block = Block { tensor: 4, row: 1, col: 2, rows: 3, cols: 4, transposed: true };
        let span = Span { query_start: 1, queries: 2, key_start: 3, keys: 4 };
        let shape = AttentionShape { heads: 8, kv_heads: 2, head_dim: 64, scale: 0.125, window: Some(4096) };
        let mut examples = vec![
            Op::Map { x: 1, f: Unary::Reciprocal, scale: f32::INFINITY, shift: -0.0 },
            Op::Zip { a: 1, b: 2, f: Unary::Sqrt, op: Binary::Divide, alpha: 0.5 },
            Op::Reduce { x: 3, f: Reduction::MaxAbs, axis: Axis::EachColumn, accumulate: true },
            Op::KthSmallest { scores: 5.into(), within: Within::Whole, k: 7 },
            Op::Update { b: 2, f: Unary::Sqrt, scale: -1.5, op: Binary::Divide, alpha: 0.5 },
            Op::SelectCounts { scores: Scores::of(Unary::Abs, 5), counts: 3 },
            Op::AtMost { scores: Scores::of(Unary::Abs, 5).by(Binary::Multiply, 6), thresholds: 7 },
            Op::Matmul { a: block, b: block.t(), alpha: 1.0, beta: -1.0, to: (5, 6) },
            Op::Copy { from: block, to: (0, 9) },
            Op::Attention { q: 1, k: 2, v: 3, shape, spans: vec![span, span] },
            Op::Attention {
                q: 1,
                k: 2,
                v: 3,
                shape: AttentionShape { window: None, ..shape },
                spans: vec![],
            },
            Op::Reverse {},
        ];
        for selection in [
            Selection::EachRow { count: 7 },
            Selection::Groups { n: 2, m: 4 },
            Selection::RowMass { share: 0.4 },
            Selection::Whole { count: 9 },
        ] {
            examples.push(Op::Select { scores: 5.into(), selection });
        }
        examples
    }

    #[test]
    fn operations_survive_packing() {
        for op in examples() {
            let Packed { name, tensors, numbers } = op.pack();
            assert_eq!(Op::unpack(name, &tensors, &numbers), Ok(op));
        }
    }

    #[test]
    fn numbers_that_are_nan_survive() {
        let Packed { name, tensors, numbers } =
            Op::Map { x: 1, f: Unary::Abs, scale: f32::NAN, shift: 0.0 }.pack();
        let back = Op::unpack(name, &tensors, &numbers);
        assert!(matches!(back, Ok(Op::Map { scale, .. }) if scale.is_nan()), "{back:?}");
    }

    #[test]
    fn other_parts_are_refused() {
        for op in examples() {
            let Packed { name, tensors, numbers } = op.pack();
            let more = |list: &[u64]| [list, &[1]].concat();
            for (tensors, numbers) in [(more(&tensors), numbers.clone()), (tensors.clone(), more(&numbers))] {
                let error = Op::unpack(name, &tensors, &numbers).expect_err("too many");
                assert_eq!(error, UnpackError::Misshapen(name.to_owned()));
            }
            for kept in 0..numbers.len() {
                assert!(Op::unpack(name, &tensors, &numbers[..kept]).is_err(), "{op:?} of {kept} numbers");
            }
            for kept in 0..tensors.len() {
                assert!(Op::unpack(name, &tensors[..kept], &numbers).is_err(), "{op:?} of {kept} tensors");
            }
        }
    }

    #[test]
    fn an_unknown_operation_is_named() {
        let error = Op::<u64>::unpack("softmax", &[1], &[]).expect_err("not one of ours");
        assert_eq!(error.to_string(), "the operation `softmax` is not supported");
    }
}
