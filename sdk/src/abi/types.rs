//! The border's vocabulary: enums as numbers, structures with a stable layout.

use crate::{
    Axis, Binary, DType, Error, Reduction, Result, Selection, Unary, Within,
    service::{Block, ScoreIds},
};
use abi_stable::{StableAbi, std_types::ROption};

/// [`Selection`] with a stable layout: a kind and its numbers.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct SelectionAbi {
    kind: u32,
    first: u64,
    second: u64,
    share: f32,
}

pub(super) const UNARY: [Unary; 5] =
    [Unary::Identity, Unary::Abs, Unary::Square, Unary::Sqrt, Unary::Reciprocal];
pub(super) const BINARY: [Binary; 4] = [Binary::Add, Binary::Subtract, Binary::Multiply, Binary::Divide];
pub(super) const REDUCTION: [Reduction; 4] =
    [Reduction::Sum, Reduction::SumAbs, Reduction::SumSquares, Reduction::MaxAbs];
pub(super) const WITHIN: [Within; 2] = [Within::EachRow, Within::Whole];
pub(super) const AXIS: [Axis; 2] = [Axis::EachRow, Axis::EachColumn];

pub(super) fn from_code<T: Copy>(code: u32, all: &[T]) -> Result<T> {
    all.get(code as usize).copied().ok_or_else(|| unknown(std::any::type_name::<T>(), code))
}

pub(super) fn dtype_from(code: u32) -> Result<DType> {
    DType::from_code(code).ok_or_else(|| unknown("DType", code))
}

fn unknown(what: &str, code: u32) -> Error {
    Error::new(
        crate::Code::Unsupported,
        format!("{what} number {code} is unknown to this side of the border"),
    )
}

impl From<Selection> for SelectionAbi {
    fn from(selection: Selection) -> Self {
        let (kind, first, second, share) = match selection {
            Selection::EachRow { count } => (0, count, 0, 0.0),
            Selection::Groups { n, m } => (1, n, m, 0.0),
            Selection::RowMass { share } => (2, 0, 0, share),
            Selection::Whole { count } => (3, count, 0, 0.0),
        };
        Self { kind, first: first as u64, second: second as u64, share }
    }
}

impl TryFrom<SelectionAbi> for Selection {
    type Error = Error;

    fn try_from(abi: SelectionAbi) -> Result<Self> {
        let (first, second) = (abi.first as usize, abi.second as usize);
        match abi.kind {
            0 => Ok(Self::EachRow { count: first }),
            1 => Ok(Self::Groups { n: first, m: second }),
            2 => Ok(Self::RowMass { share: abi.share }),
            3 => Ok(Self::Whole { count: first }),
            kind => Err(unknown("Selection", kind)),
        }
    }
}

/// [`ScoreIds`] with a stable layout.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ScoresAbi {
    f: u32,
    a: u64,
    op: u32,
    by: ROption<u64>,
}

impl From<ScoreIds> for ScoresAbi {
    fn from(scores: ScoreIds) -> Self {
        let (op, by) = scores.by.unzip();
        Self { f: scores.f as u32, a: scores.a, op: op.map_or(0, |op| op as u32), by: by.into() }
    }
}

impl TryFrom<ScoresAbi> for ScoreIds {
    type Error = Error;

    fn try_from(abi: ScoresAbi) -> Result<Self> {
        let op = from_code(abi.op, &BINARY)?;
        Ok(Self { f: from_code(abi.f, &UNARY)?, a: abi.a, by: abi.by.map(|by| (op, by)).into() })
    }
}

/// [`Block`] with a stable layout.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct BlockAbi {
    tensor: u64,
    row: u64,
    col: u64,
    rows: u64,
    cols: u64,
    transposed: bool,
}

impl From<Block> for BlockAbi {
    fn from(block: Block) -> Self {
        Self {
            tensor: block.tensor,
            row: block.row as u64,
            col: block.col as u64,
            rows: block.rows as u64,
            cols: block.cols as u64,
            transposed: block.transposed,
        }
    }
}

impl From<BlockAbi> for Block {
    fn from(abi: BlockAbi) -> Self {
        Self {
            tensor: abi.tensor,
            row: abi.row as usize,
            col: abi.col as usize,
            rows: abi.rows as usize,
            cols: abi.cols as usize,
            transposed: abi.transposed,
        }
    }
}

/// A tensor as it crosses the border.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct TensorAbi {
    pub(super) id: u64,
    pub(super) dtype: u32,
    pub(super) rows: u64,
    pub(super) cols: u64,
}

/// An optional number as it crosses the border.
pub(super) type OptionF64 = ROption<f64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_enums_own_numbers() {
        assert!(UNARY.iter().enumerate().all(|(at, &f)| f as usize == at));
        assert!(BINARY.iter().enumerate().all(|(at, &f)| f as usize == at));
        assert!(REDUCTION.iter().enumerate().all(|(at, &f)| f as usize == at));
        assert!(WITHIN.iter().enumerate().all(|(at, &f)| f as usize == at));
        assert!(AXIS.iter().enumerate().all(|(at, &f)| f as usize == at));
    }

    #[test]
    fn scores_survive_the_border() {
        for by in [None, Some((Binary::Add, 3)), Some((Binary::Divide, 0))] {
            let scores = ScoreIds { f: Unary::Square, a: 7, by };
            assert_eq!(ScoreIds::try_from(ScoresAbi::from(scores)), Ok(scores));
        }
        let unknown = ScoresAbi { f: 5, a: 7, op: 0, by: ROption::RNone };
        assert!(ScoreIds::try_from(unknown).is_err());
    }

    #[test]
    fn selections_survive_the_border() {
        for selection in [
            Selection::EachRow { count: 7 },
            Selection::Groups { n: 2, m: 4 },
            Selection::RowMass { share: 0.4 },
            Selection::Whole { count: 9 },
        ] {
            assert_eq!(Selection::try_from(SelectionAbi::from(selection)), Ok(selection));
        }
    }
}
