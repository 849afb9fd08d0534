//! Magnitude pruning: the smallest weights of a matrix go. Needs no calibration data.

use espalier_sdk::{
    Axis, Device, Layer, MethodInfo, Options, Pruned, PruningMethod, Reduction, Result, Scores, Selection,
    Sparsity, Unary, export_plugin,
};

struct Magnitude;

impl PruningMethod for Magnitude {
    fn info() -> MethodInfo {
        MethodInfo::new("magnitude", "drops the smallest |weight| of each matrix; needs no calibration")
    }

    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }

    fn prune(&self, layer: &Layer, target: Sparsity, device: &Device) -> Result<Pruned> {
        let weight = &layer.weight;
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
        Ok(Pruned { error: Some(lost), ..pruned.into() })
    }
}

/// `Σ x²`, in double precision over the rows.
fn energy(x: &espalier_sdk::Tensor, device: &Device) -> Result<f64> {
    let rows = device.reduce(Reduction::SumSquares, Axis::EachRow, x)?.to_vec()?;
    Ok(rows.into_iter().map(f64::from).sum())
}

export_plugin! { methods: [Magnitude] }
