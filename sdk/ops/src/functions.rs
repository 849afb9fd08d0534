//! The functions, reductions and selections that operations are made with. The numbers are the kernels' op codes.

/// A function of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Unary {
    /// `x`
    Identity = 0,
    /// `|x|`
    Abs = 1,
    /// `x²`
    Square = 2,
    /// `√x`
    Sqrt = 3,
    /// `1 / x`
    Reciprocal = 4,
    /// `eˣ`
    Exp = 5,
    /// `ln x`
    Log = 6,
    /// `x / (1 + e⁻ˣ)`, the activation of gated MLPs (Elfwing et al., 1702.03118).
    Silu = 7,
    /// The derivative of [`Unary::Silu`].
    SiluGradient = 8,
}

impl Unary {
    /// Every function.
    pub const ALL: [Self; 9] = [
        Self::Identity,
        Self::Abs,
        Self::Square,
        Self::Sqrt,
        Self::Reciprocal,
        Self::Exp,
        Self::Log,
        Self::Silu,
        Self::SiluGradient,
    ];

    /// The function's value.
    #[inline(always)]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Abs => x.abs(),
            Self::Square => x * x,
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::SiluGradient => {
                let gate = 1.0 / (1.0 + (-x).exp());
                gate * (1.0 + x * (1.0 - gate))
            }
        }
    }
}

/// A function of two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Binary {
    /// `a + b`
    Add = 0,
    /// `a − b`
    Subtract = 1,
    /// `a · b`
    Multiply = 2,
    /// `a / b`
    Divide = 3,
    /// `a` where `a < b`, else `b`.
    Minimum = 4,
    /// `a` where `a > b`, else `b`.
    Maximum = 5,
    /// `aᵇ` of an `a` that is not negative.
    Power = 6,
    /// 1 where `a < b`, else 0.
    Less = 7,
}

impl Binary {
    /// Every function.
    pub const ALL: [Self; 8] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Minimum,
        Self::Maximum,
        Self::Power,
        Self::Less,
    ];

    /// The function's value.
    #[inline(always)]
    pub fn of(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Minimum => {
                if a < b {
                    a
                } else {
                    b
                }
            }
            Self::Maximum => {
                if a > b {
                    a
                } else {
                    b
                }
            }
            Self::Power => a.powf(b),
            Self::Less => f32::from(u8::from(a < b)),
        }
    }
}

/// How the second operand of an element-wise function is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Repeat {
    /// It has the shape of the first one.
    Nowhere = 0,
    /// It is one row, repeated for every row.
    Row = 1,
    /// It is one column, repeated for every column.
    Column = 2,
    /// It is one number.
    Number = 3,
}

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u32)]
pub enum Access {
    /// It reads it: `var<storage, read>`.
    Read = 0,
    /// It writes it, and may read it: `var<storage, read_write>`.
    Write = 1,
}

/// How elements are gathered into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Reduction {
    /// `Σ x`
    Sum = 0,
    /// `Σ |x|`
    SumAbs = 1,
    /// `Σ x²`
    SumSquares = 2,
    /// `max |x|`; NaN where any element is NaN.
    MaxAbs = 3,
}

/// Along what a reduction gathers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Axis {
    /// Over the elements of each row: one number a row, `[rows, 1]`.
    EachRow = 0,
    /// Over the elements of each column: one number a column, `[1, cols]`.
    EachColumn = 1,
}

/// The set that a rank is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Within {
    /// Each row for itself.
    EachRow = 0,
    /// The whole matrix.
    Whole = 1,
}

/// Which elements of a matrix of scores, none negative, are the smallest.
///
/// Ties go to the lower column (and, over the whole matrix, to the lower row first).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection {
    /// In every row, the `count` smallest.
    EachRow {
        /// How many of a row.
        count: usize,
    },
    /// In every row, of every `m` contiguous columns the `n` smallest. `m` divides the columns.
    Groups {
        /// How many of a group.
        n: usize,
        /// Columns in a group, at most 32.
        m: usize,
    },
    /// Over the whole matrix, the `count` smallest.
    Whole {
        /// How many.
        count: usize,
    },
    /// In every row, the smallest as long as their sum stays at most `share` of the row's sum.
    RowMass {
        /// The share of the row's sum.
        share: f32,
    },
}
