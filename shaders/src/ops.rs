//! What the element-wise kernels and the reductions compute. The numbers are the kernels' op codes.

/// A function of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// A function of two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// How the second operand of an element-wise function is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Repeat {
    /// It is of the first one's shape.
    Nowhere = 0,
    /// It is one row, repeated for every row.
    Row = 1,
    /// It is one column, repeated for every column.
    Column = 2,
    /// It is one number.
    Number = 3,
}

/// How elements are gathered into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl Unary {
    /// The function's value.
    #[inline(always)]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Abs => x.abs(),
            Self::Square => x * x,
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
        }
    }
}

impl Binary {
    /// The function's value.
    #[inline(always)]
    pub fn of(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
        }
    }
}
