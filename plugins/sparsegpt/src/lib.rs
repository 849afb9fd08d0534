//! SparseGPT (Frantar & Alistarh, 2301.00774): columns are pruned from left to right, and what each
//! pruned weight takes from the layer's output is made up for by the columns to its right, as the inverse
//! of the input's Gram matrix says.

mod inverse;
mod sweep;

use espalier_sdk::{
    Axis, Binary, DType, Device, Error, Layer, Method, MethodInfo, OptionKind, Options, Order, Pruned,
    Reduction, Result, Run, Scores, Selection, Sparsity, Statistic, Tensor, Unary, export_plugin,
};
use inverse::Inverse;
use std::ops::Neg;
use sweep::SweepTarget;

struct SparseGpt {
    blocksize: usize,
    percdamp: f64,
    true_sequential: bool,
}

impl Method for SparseGpt {
    fn info() -> MethodInfo {
        MethodInfo::new("sparsegpt", "prunes column by column and updates the rest to compensate")
            .paper("Frantar & Alistarh, 2301.00774")
            .option("blocksize", OptionKind::Integer, 128, "columns whose mask is chosen together")
            .range(1.0..=sweep::MAX_BLOCK as f64)
            .option(
                "percdamp",
                OptionKind::Float,
                0.01,
                "damping, as a share of the Gram matrix's mean diagonal",
            )
            .range(0.0..=f64::INFINITY)
            .option(
                "true_sequential",
                OptionKind::Bool,
                false,
                "take statistics again before o, gate/up and down, through what is already pruned",
            )
            .needs(Statistic::Gram)
    }

    fn new(options: &Options) -> Result<Self> {
        let (blocksize, percdamp) = (options.integer("blocksize")?, options.float("percdamp")?);
        let true_sequential = options.bool("true_sequential")?;
        Ok(Self { blocksize: blocksize as usize, percdamp, true_sequential })
    }

    fn order(&self) -> Order {
        if self.true_sequential { Order::TrueSequential } else { Order::Block }
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let (target, device) = (layer.target, run.device());
        if let Sparsity::Pattern { m, .. } = target
            && !self.blocksize.is_multiple_of(m)
        {
            let message = format!("blocksize {} does not divide into groups of {m}", self.blocksize);
            return Err(Error::invalid(message));
        }
        let inverse = inverse::of_gram(layer.statistics.gram()?, self.percdamp, device)?;
        let mut weight = device.zip(Unary::Identity, &layer.weight, Binary::Multiply, &inverse.alive)?;
        // Scores are squares. Where those would overflow or vanish, the weight is pruned at another scale.
        let scale = scale_of(&weight, device)?;
        if scale != 1.0 {
            weight = device.affine(Unary::Identity, &weight, scale, 0.0)?;
        }
        let losses = self.sweep_blocks(&mut weight, &inverse, target, device)?;
        let mut error = losses.to_vec()?.into_iter().map(f64::from).sum::<f64>() / 2.0;
        if scale != 1.0 {
            weight = device.affine(Unary::Identity, &weight, 1.0 / scale, 0.0)?;
            error /= f64::from(scale) * f64::from(scale);
        }
        let mut pruned = Pruned::from(weight).error(error).number("damping", inverse.percdamp);
        if inverse.dead > 0 {
            pruned = pruned.number("dead_columns", inverse.dead as f64);
        }
        pruned.notes = inverse.notes;
        Ok(pruned)
    }
}

impl SparseGpt {
    /// Prunes the blocks of columns from left to right; returns `Σ e²` of each row, `[rows, 1]`.
    fn sweep_blocks(
        &self,
        weight: &mut Tensor,
        inverse: &Inverse,
        target: Sparsity,
        device: &Device,
    ) -> Result<Tensor> {
        let (rows, cols) = (weight.rows(), weight.cols());
        let mut losses = device.zeros(DType::F32, rows, 1)?;
        for start in (0..cols).step_by(self.blocksize) {
            let end = (start + self.blocksize).min(cols);
            let mut columns = copy(weight, 0..rows, start..end, device)?;
            let block = copy(&inverse.factor, start..end, start..end, device)?;
            let target = match target {
                Sparsity::Ratio(_) => {
                    let diagonal = copy(&inverse.diagonal_squared, 0..1, start..end, device)?;
                    let scores = Scores::of(Unary::Square, &columns).by(Binary::Divide, &diagonal);
                    let weights = rows * (end - start);
                    // As published, all up to the value at this place of the sorted scores, counted from 0; of equal ones,
                    // as many as make up the share.
                    let count = (target.count(weights) + 1).min(weights);
                    SweepTarget::Mask(device.select(scores, Selection::Whole { count })?)
                }
                Sparsity::Pattern { n, m } => SweepTarget::Groups { n, m },
            };
            let errors = sweep::run(&mut columns, &block, &target, device)?;
            device.copy(columns.view(), weight.block_mut(0..rows, start..end))?;
            let squares = device.reduce(Reduction::SumSquares, Axis::EachRow, &errors)?;
            losses = device.axpy(&losses, 1.0, &squares)?;
            if end < cols {
                // Everything to the right makes up for the whole block at once.
                let across = inverse.factor.block(start..end, end..cols);
                device.matmul(-1.0, errors.view(), across, 1.0, weight.block_mut(0..rows, end..cols))?;
            }
        }
        Ok(losses)
    }
}

/// A power of two that brings the weights near 1, so that nothing is rounded; 1 where their squares are no trouble.
fn scale_of(weight: &Tensor, device: &Device) -> Result<f32> {
    const FINE: std::ops::RangeInclusive<f32> = 1e-10..=1e10;
    let rows = device.reduce(Reduction::MaxAbs, Axis::EachRow, weight)?.to_vec()?;
    let greatest = rows.into_iter().fold(0.0, f32::max);
    if greatest == 0.0 || FINE.contains(&greatest) {
        return Ok(1.0);
    }
    // At the ends of the range of f32, the power's inverse must be one, too.
    Ok(greatest.log2().round().clamp(-126.0, 126.0).neg().exp2())
}

/// A rectangle as a tensor of its own.
fn copy(
    from: &Tensor,
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
    device: &Device,
) -> Result<Tensor> {
    let mut to = device.zeros(from.dtype(), rows.len(), cols.len())?;
    device.copy(from.block(rows, cols), to.view_mut())?;
    Ok(to)
}

export_plugin! { methods: [SparseGpt] }

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_sdk::testing;

    /// `‖(W − P) Xᵀ‖²`, of a pruned weight.
    fn loss(layer: &Layer, pruned: &Tensor, device: &Device) -> Result<f64> {
        let difference = device.axpy(&layer.weight, -1.0, pruned)?;
        let inputs = layer.statistics.inputs()?;
        let mut outputs = device.zeros(DType::F32, difference.rows(), inputs.rows())?;
        device.matmul(1.0, difference.view(), inputs.view().t(), 0.0, outputs.view_mut())?;
        Ok(outputs.to_vec()?.into_iter().map(|x| f64::from(x) * f64::from(x)).sum())
    }

    fn layer(device: &Device) -> Result<Layer> {
        let (weight, inputs) = (testing::random(device, 17, 72, 3)?, testing::random(device, 60, 72, 4)?);
        testing::layer(device, weight, inputs, Sparsity::Ratio(0.5))
    }

    #[test]
    fn what_stays_makes_up_for_what_goes() -> Result<()> {
        let device = testing::device();
        let layer = layer(&device)?;
        let sparsegpt = testing::method::<SparseGpt>(&[("blocksize", 16.into())])?;
        let pruned = testing::prune(&sparsegpt, &layer, &device)?;
        assert!((testing::sparsity(&pruned.weight)? - 0.5).abs() < 0.01);
        let mask =
            device.at_most(Scores::of(Unary::Abs, &pruned.weight), &device.zeros(DType::F32, 1, 1)?)?;
        let without_updates = device.zero_where(&mask, &layer.weight)?;
        assert!(loss(&layer, &pruned.weight, &device)? < 0.8 * loss(&layer, &without_updates, &device)?);
        Ok(())
    }

    #[test]
    fn patterns_hold_in_every_group_and_divide_the_block() -> Result<()> {
        let device = testing::device();
        let mut layer = layer(&device)?;
        layer.target = Sparsity::Pattern { n: 2, m: 4 };
        let pruned = testing::prune(&testing::method::<SparseGpt>(&[])?, &layer, &device)?;
        for group in pruned.weight.to_vec()?.chunks(4) {
            assert_eq!(group.iter().filter(|weight| **weight == 0.0).count(), 2);
        }
        let odd = testing::method::<SparseGpt>(&[("blocksize", 6.into())])?;
        assert!(testing::prune(&odd, &layer, &device).is_err());
        assert!(testing::method::<SparseGpt>(&[("percdamp", (-1.0).into())]).is_err());
        Ok(())
    }

    #[test]
    fn a_dead_input_takes_its_column_along() -> Result<()> {
        let device = testing::device();
        let weight = testing::tensor(&device, &[[1.0, 9.0, 3.0, 4.0]])?;
        let inputs =
            testing::tensor(&device, &[[1.0, 0.0, 2.0, 3.0], [2.0, 0.0, 1.0, -1.0], [0.5, 0.0, 1.0, 1.0]])?;
        let layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.25))?;
        let pruned = testing::prune(&testing::method::<SparseGpt>(&[])?, &layer, &device)?;
        assert_eq!(pruned.weight.to_vec()?[1], 0.0);
        assert_eq!(pruned.numbers["dead_columns"], 1.0);
        Ok(())
    }
}
