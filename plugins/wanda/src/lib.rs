//! Wanda (Sun et al., 2306.11695): a weight matters as much as its magnitude times the norm of the
//! input it meets, `S_ij = |W_ij| · ‖x_j‖₂`, compared within each output row.

use espalier_sdk::{
    Axis, Binary, Device, Error, Layer, Mask, Method, MethodInfo, OptionKind, Options, Pruned, Reduction,
    Result, Run, Scores, Selection, Sparsity, Statistic, Tensor, Unary, export_plugin,
};

struct Wanda {
    use_variant: bool,
}

impl Method for Wanda {
    fn info() -> MethodInfo {
        MethodInfo::new("wanda", "drops, in every row, the smallest |weight| · ‖input‖")
            .paper("Sun et al., 2306.11695")
            .option(
                "use_variant",
                OptionKind::Bool,
                false,
                "let rows differ: drop what sums to the same share of each row's scores",
            )
            .needs(Statistic::ColumnNorms)
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { use_variant: options.bool("use_variant")? })
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let (device, norms) = (run.device(), layer.statistics.column_norms()?);
        let scores = Scores::of(Unary::Abs, &layer.weight).by(Binary::Multiply, norms);
        let mask = match (self.use_variant, layer.target) {
            (false, _) => layer.smallest_per_row(device, scores)?,
            (true, Sparsity::Ratio(ratio)) => smallest_by_mass(scores, ratio, device)?,
            (true, Sparsity::Pattern { .. }) => {
                return Err(Error::invalid(
                    "use_variant needs a share such as 0.5; a pattern fixes every row",
                ));
            }
        };
        let pruned = device.zero_where(&mask, &layer.weight)?;
        // What the layer loses if its inputs were uncorrelated: Σ (w · ‖x‖)² over the dropped weights.
        let lost = energy(&layer.weight, norms, device)? - energy(&pruned, norms, device)?;
        Ok(Pruned::from((pruned, mask)).error(lost))
    }
}

/// The variant's mask: of every row the scores that together make up at most `alpha` of the row's sum, with
/// `alpha` found by bisection so that the whole matrix comes within 0.001 of `ratio`.
fn smallest_by_mass(scores: Scores, ratio: f64, device: &Device) -> Result<Mask> {
    let (mut low, mut high, mut alpha) = (0.0, 0.8, 0.4);
    loop {
        let mask = device.select(scores, Selection::RowMass { share: alpha as f32 })?;
        let sparsity = mask.share()?;
        if (sparsity - ratio).abs() <= 0.001 || high - low < 0.001 {
            return Ok(mask);
        }
        if sparsity > ratio {
            high = alpha;
            alpha = (alpha + low) / 2.0;
        } else {
            low = alpha;
            alpha = (alpha + high) / 2.0;
        }
    }
}

/// `Σ (w · ‖x‖)²`, in double precision over the columns.
fn energy(weight: &Tensor, norms: &Tensor, device: &Device) -> Result<f64> {
    let columns = device.reduce(Reduction::SumSquares, Axis::EachColumn, weight)?.to_vec()?;
    let norms = norms.to_vec()?;
    let energy = |(column, norm): (f32, f32)| f64::from(column) * f64::from(norm) * f64::from(norm);
    Ok(columns.into_iter().zip(norms).map(energy).sum())
}

export_plugin! { methods: [Wanda] }

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_sdk::testing;

    #[test]
    fn the_input_decides_between_weights() -> Result<()> {
        let device = testing::device();
        // The second feature's input is ten times as large, so its smaller weight stays.
        let weight = testing::tensor(&device, &[[4.0, 1.0], [-4.0, 0.1]])?;
        let inputs = testing::tensor(&device, &[[1.0, 10.0]])?;
        let layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.5))?;
        let pruned = testing::prune(&testing::method::<Wanda>(&[])?, &layer, &device)?;
        assert_eq!(testing::rows(&pruned.weight)?, [[0.0, 1.0], [-4.0, 0.0]]);
        // 4² · 1² and 0.1² · 10², as far as f32 goes.
        assert!(pruned.error.is_some_and(|error| (error - 17.0).abs() < 1e-4), "{:?}", pruned.error);
        Ok(())
    }

    #[test]
    fn the_variant_comes_close_to_the_target_and_refuses_patterns() -> Result<()> {
        let device = testing::device();
        let (weight, inputs) = (testing::random(&device, 33, 65, 1)?, testing::random(&device, 70, 65, 2)?);
        let mut layer = testing::layer(&device, weight, inputs, Sparsity::Ratio(0.6))?;
        let wanda = testing::method::<Wanda>(&[("use_variant", true.into())])?;
        let pruned = testing::prune(&wanda, &layer, &device)?;
        assert!((testing::sparsity(&pruned.weight)? - 0.6).abs() < 0.01);
        layer.target = Sparsity::Pattern { n: 2, m: 4 };
        let refused = testing::prune(&wanda, &layer, &device).unwrap_err();
        assert!(refused.to_string().contains("use_variant"), "{refused}");
        Ok(())
    }
}
