//! The tokens of a batch that count in statistics, and how much.

use espalier_device::{Binary, DType, Device, DeviceError, Op, Tensor, Unary};

/// What counts of a batch's tokens.
pub(super) struct Counted {
    /// Those that count, `[tokens, features]`, where they are not all.
    pub(super) tokens: Option<Tensor>,
    /// How many of each window count.
    pub(super) windows: Vec<usize>,
    /// How much each counts; nothing where all count 1.
    pub(super) weights: Vec<f32>,
}

impl Counted {
    /// Leaves out of `x` the tokens of weight 0. No weights at all are 1 each.
    pub(super) fn of(
        device: &dyn Device,
        x: &Tensor,
        windows: &[usize],
        loss_mask: &[f32],
    ) -> Result<Self, DeviceError> {
        if loss_mask.iter().all(|&weight| weight == 1.0) {
            return Ok(Self { tokens: None, windows: windows.to_vec(), weights: Vec::new() });
        }
        let counts = |weight: &&f32| **weight > 0.0;
        let mut weights: Vec<f32> = loss_mask.iter().filter(counts).copied().collect();
        let (mut left, mut of_windows) = (loss_mask, Vec::with_capacity(windows.len()));
        for &tokens in windows {
            let (window, behind) = left.split_at(tokens);
            of_windows.push(window.iter().filter(counts).count());
            left = behind;
        }
        let mut tokens = None;
        if (1..loss_mask.len()).contains(&weights.len()) {
            let mut kept = device.zeros(DType::F32, weights.len(), x.cols())?;
            let (mut row, mut to) = (0, 0);
            // Those that count stand in long runs, such as answers.
            for run in loss_mask.chunk_by(|a, b| (*a > 0.0) == (*b > 0.0)) {
                if run[0] > 0.0 {
                    let from = x.block(row..row + run.len(), 0..x.cols());
                    device.execute(Op::Copy { from, to: (to, 0) }, &mut kept)?;
                    to += run.len();
                }
                row += run.len();
            }
            tokens = Some(kept);
        }
        if weights.iter().all(|&weight| weight == 1.0) {
            weights.clear();
        }
        Ok(Self { tokens, windows: of_windows, weights })
    }

    /// Whether no token counts.
    pub(super) fn is_nothing(&self) -> bool {
        self.windows.iter().all(|&tokens| tokens == 0)
    }

    /// The weight of all of its `tokens` tokens.
    pub(super) fn total(&self, tokens: usize) -> f64 {
        if self.weights.is_empty() {
            tokens as f64
        } else {
            self.weights.iter().map(|&weight| f64::from(weight)).sum()
        }
    }

    /// Every token times the root of its weight; nothing where all count 1.
    pub(super) fn scaled(&self, device: &dyn Device, x: &Tensor) -> Result<Option<Tensor>, DeviceError> {
        self.times(device, x, f32::sqrt)
    }

    /// Every token times `f` of its weight; nothing where all count 1.
    pub(super) fn times(
        &self,
        device: &dyn Device,
        x: &Tensor,
        f: impl Fn(f32) -> f32,
    ) -> Result<Option<Tensor>, DeviceError> {
        if self.weights.is_empty() {
            return Ok(None);
        }
        let factors = self.weights.iter().map(|&weight| f(weight)).collect();
        let factors = device.from_f32(x.rows(), 1, factors)?;
        let mut product = device.zeros(DType::F32, x.rows(), x.cols())?;
        let op = Op::Zip { a: x, b: &factors, f: Unary::Identity, op: Binary::Multiply, alpha: 1.0 };
        device.execute(op, &mut product)?;
        Ok(Some(product))
    }
}
