//! Checking and timing variants on made-up operands.

use crate::{
    DType, Operand, PackedMatrix, Result, Tensor,
    gpu::{
        Context, memory, packed, panels,
        products::{Class, Kind, Layout, Product, Sizes, Variant, linear},
    },
};
use espalier_shaders::linear::Mode;
use std::time::Instant;

/// Timed runs of a variant, of which the shortest counts: whatever else the machine does makes runs longer.
const ROUNDS: usize = 3;

/// A round of a small product has several runs, of so many operations together.
const ROUND_FLOPS: f64 = (1_u64 << 30) as f64;

/// A product's tensors.
struct Operands {
    kind: Kind,
    sizes: Sizes,
    a: Tensor,
    b: Tensor,
    /// The bias of the linear layer.
    bias: Tensor,
}

impl Operands {
    fn new(context: &Context, class: &Class, sizes: Sizes) -> Result<Self> {
        let (kind, Sizes { rows, inner, cols }) = (class.kind, sizes);
        let upload =
            |dtype, rows, cols| memory::upload(context, dtype, rows, cols, &noise(dtype, rows * cols));
        let (a, b) = match kind {
            Kind::Linear { dtype, .. } => (upload(DType::F32, rows, inner)?, upload(dtype, cols, inner)?),
            Kind::Matmul { a, b } => {
                let [a, b] = [a.matrix(rows, inner), b.matrix(inner, cols)];
                (upload(DType::F32, a.0, a.1)?, upload(DType::F32, b.0, b.1)?)
            }
        };
        Ok(Self { kind, sizes, a, b, bias: upload(DType::F32, 1, cols)? })
    }

    /// Computes the product into y or, with everything that the operation does, adds to it.
    fn multiply(&self, context: &Context, variant: &Variant, add: bool, y: &mut Tensor) -> Result<()> {
        let Self { kind, sizes: Sizes { rows, inner, cols }, a, b, bias } = self;
        match kind {
            Kind::Linear { compute, .. } => {
                let mode = if add { Mode::Add } else { Mode::Write };
                linear::run(context, variant, a, b, add.then_some(bias), mode, *compute, y)
            }
            Kind::Matmul { a: a_layout, b: b_layout } => {
                let (a, b) = (a_layout.operand(a, *rows, *inner), b_layout.operand(b, *inner, *cols));
                let (alpha, beta) = if add { (0.5, 1.0) } else { (1.0, 0.0) };
                Product::new(alpha, a, b, beta, y, (0, 0)).run_by(context, variant)
            }
        }
    }

    /// The product added to made-up numbers, so that elements a variant does not write are wrong.
    fn result(&self, context: &Context, variant: &Variant) -> Result<Vec<f32>> {
        let Sizes { rows, cols, .. } = self.sizes;
        let before = noise(DType::F32, rows * cols);
        let mut y = memory::upload(context, DType::F32, rows, cols, &before)?;
        self.multiply(context, variant, true, &mut y)?;
        Ok(bytemuck::pod_collect_to_vec(&context.fetch(panels(&y)?)?))
    }
}

impl Layout {
    /// Rows and columns of a matrix that holds such an operand of these.
    fn matrix(self, rows: usize, cols: usize) -> (usize, usize) {
        let (rows, cols) = if self.transposed { (cols, rows) } else { (rows, cols) };
        (rows, cols.next_multiple_of(4) + usize::from(!self.aligned))
    }

    /// The operand of these rows and columns in such a matrix.
    fn operand(self, tensor: &Tensor, rows: usize, cols: usize) -> Operand<'_> {
        let (rows, cols) = if self.transposed { (cols, rows) } else { (rows, cols) };
        Operand { transposed: self.transposed, ..tensor.block(0..rows, 0..cols) }
    }
}

/// Checks variants of one class against the plain kernel with its built-in tile.
pub(super) struct Check<'a> {
    context: &'a Context,
    operands: Operands,
    expected: Vec<f32>,
}

impl<'a> Check<'a> {
    /// Makes the operands, and computes what the plain kernel makes of them.
    ///
    /// # Errors
    /// The device failed or has no memory left.
    pub(super) fn new(context: &'a Context, class: &Class) -> Result<Self> {
        let operands = Operands::new(context, class, class.checked())?;
        let expected = operands.result(context, &Variant::built_in(class))?;
        Ok(Self { context, operands, expected })
    }

    /// How a variant's result differs from the plain kernel's, if it does.
    ///
    /// # Errors
    /// It does not compile, or the device failed.
    pub(super) fn difference(&self, variant: &Variant) -> Result<Option<String>> {
        let result = self.operands.result(self.context, variant)?;
        let Sizes { inner, cols, .. } = self.operands.sizes;
        let agreement = variant.agreement();
        let agrees = |(got, expected): (&f32, &f32)| agreement.holds(*got, *expected, inner);
        let first = result.iter().zip(&self.expected).position(|pair| !agrees(pair));
        Ok(first.map(|at| {
            let (row, column) = (at / cols, at % cols);
            format!("it makes [{row}, {column}] {}, not {}", result[at], self.expected[at])
        }))
    }
}

/// How a variant's result of weights without their zeros differs from another's of the same with zeros, if it does in any bit.
///
/// # Errors
/// One does not compile, or the device failed.
pub(super) fn packed_difference(
    context: &Context,
    class: &Class,
    dense: &Variant,
    packed: &Variant,
) -> Result<Option<String>> {
    let Kind::Linear { dtype, .. } = class.kind else { return Ok(None) };
    let Sizes { inner, cols, .. } = class.checked();
    let mut weights = noise(dtype, cols * inner);
    for (at, element) in weights.chunks_exact_mut(dtype.size()).enumerate() {
        // Runs of zeros of every length, and rows of nothing else.
        if (at * at / 7) % 5 < 3 || at / inner % 11 == 3 {
            element.fill(0);
        }
    }
    let mut operands = Operands::new(context, class, class.checked())?;
    operands.b = memory::upload(context, dtype, cols, inner, &weights)?;
    let expected = operands.result(context, dense)?;
    operands.b = packed::upload(context, &PackedMatrix::pack(dtype, inner, &weights))?;
    let result = operands.result(context, packed)?;
    let first = result.iter().zip(&expected).position(|(got, expected)| got.to_bits() != expected.to_bits());
    Ok(first.map(|at| {
        let (row, column) = (at / cols, at % cols);
        format!("it makes [{row}, {column}] {}, not {} as with zeros", result[at], expected[at])
    }))
}

/// Times variants of one class.
pub(super) struct Race<'a> {
    context: &'a Context,
    operands: Operands,
    y: Tensor,
}

impl<'a> Race<'a> {
    /// Makes the operands.
    ///
    /// # Errors
    /// The device has no memory left.
    pub(super) fn new(context: &'a Context, class: &Class) -> Result<Self> {
        let operands = Operands::new(context, class, class.timed())?;
        let y = memory::uninitialised(context, DType::F32, operands.sizes.rows, operands.sizes.cols)?;
        Ok(Self { context, operands, y })
    }

    /// The shortest time of each variant, in seconds a run, taken in turns so that a GPU that changes its clock
    /// does so for all of them.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn times(&mut self, variants: &[Variant]) -> Result<Vec<f64>> {
        let mut best = vec![f64::INFINITY; variants.len()];
        for _ in 0..ROUNDS {
            for (variant, best) in variants.iter().zip(&mut best) {
                *best = best.min(self.seconds(variant)?);
            }
        }
        Ok(best)
    }

    /// Seconds of a run by the device's clock, or else the host's around a wait.
    fn seconds(&mut self, variant: &Variant) -> Result<f64> {
        let runs = (ROUND_FLOPS / self.operands.sizes.flops()).clamp(1.0, 16.0) as u32;
        let began = Instant::now();
        for _ in 0..runs {
            self.operands.multiply(self.context, variant, false, &mut self.y)?;
        }
        self.context.finish("tune")?;
        let seconds = self.context.kernel_seconds().unwrap_or_else(|| began.elapsed().as_secs_f64());
        Ok(seconds / f64::from(runs))
    }
}

/// Numbers from -1 to 1 in this type, the same ones every time.
fn noise(dtype: DType, count: usize) -> Vec<u8> {
    // As many as it takes for no two rows of a tile to be alike; a prime, so that rows start elsewhere in them.
    const PERIOD: usize = 4093;
    let mut state = 1_u32;
    let numbers = (0..PERIOD.min(count)).map(|_| {
        // Numerical Recipes' generator, of which the upper bits are good.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    });
    let bytes: Vec<u8> = match dtype {
        DType::F16 => numbers.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
        DType::BF16 => numbers.flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
        DType::F32 | DType::U32 => numbers.flat_map(f32::to_le_bytes).collect(),
    };
    bytes.iter().copied().cycle().take(count * dtype.size()).collect()
}
