//! Magnitude pruning: the smallest weights of a matrix go. Needs no calibration data.

use espalier_sdk::{
    Axis, Device, Layer, Method, MethodInfo, Options, Pruned, Reduction, Result, Run, Scores, Selection,
    Sparsity, Unary, export_plugin,
};

struct Magnitude;

impl Method for Magnitude {
    fn info() -> MethodInfo {
        MethodInfo::new("magnitude", "drops the smallest |weight| of each matrix; needs no calibration")
    }

    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let (weight, target, device) = (&layer.weight, layer.target, run.device());
        let magnitudes = Scores::of(Unary::Abs, weight);
        let mask = match target {
            Sparsity::Ratio(_) => {
                let weights = weight.rows() * weight.cols();
                // The published codes drop all up to the value at this place of the sorted magnitudes, counted from 0. Of
                // equal ones, only as many go as make up the share.
                let count = (target.count(weights) + 1).min(weights);
                device.select(magnitudes, Selection::Whole { count })?
            }
            Sparsity::Pattern { .. } => device.smallest_per_row(magnitudes, target)?,
        };
        let pruned = device.zero_where(&mask, weight)?;
        let lost = energy(weight, device)? - energy(&pruned, device)?;
        Ok(Pruned::from((pruned, mask)).error(lost))
    }
}

/// `Σ x²`, in double precision over the rows.
fn energy(x: &espalier_sdk::Tensor, device: &Device) -> Result<f64> {
    let rows = device.reduce(Reduction::SumSquares, Axis::EachRow, x)?.to_vec()?;
    Ok(rows.into_iter().map(f64::from).sum())
}

export_plugin! { methods: [Magnitude] }

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_sdk::testing;

    #[test]
    fn the_smallest_of_the_matrix_or_of_each_group_go() -> Result<()> {
        let device = testing::device();
        let weight = testing::tensor(&device, &[[1.0, -8.0, 2.0, 7.0], [-3.0, 4.0, 5.0, 6.0]])?;
        let inputs = testing::random(&device, 3, 4, 0)?;
        let mut layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.25))?;
        let magnitude = testing::method::<Magnitude>(&[])?;
        // As published: one more than the share.
        let pruned = testing::prune(&magnitude, &layer, &device)?;
        assert_eq!(testing::rows(&pruned.weight)?, [[0.0, -8.0, 0.0, 7.0], [0.0, 4.0, 5.0, 6.0]]);
        assert_eq!(pruned.error, Some(14.0));
        layer.target = Sparsity::Pattern { n: 2, m: 4 };
        let pruned = testing::prune(&magnitude, &layer, &device)?;
        assert_eq!(testing::rows(&pruned.weight)?, [[0.0, -8.0, 0.0, 7.0], [0.0, 0.0, 5.0, 6.0]]);
        Ok(())
    }
}
