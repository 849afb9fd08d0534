//! RIA (Zhang et al., ICLR 2024): a weight matters by its share of its row and of its column, times a root of its input's norm.

use espalier_sdk::{
    Axis, Binary, Layer, Method, MethodInfo, OptionKind, Options, Pruned, Reduction, Result, Run, Selection,
    Sparsity, Statistic, Tensor, Unary,
};

pub(crate) struct Ria {
    power: f32,
}

impl Method for Ria {
    fn info() -> MethodInfo {
        MethodInfo::new("ria", "drops the smallest relative importance times activation")
            .paper("Zhang et al., ICLR 2024")
            .option("power", OptionKind::Float, 0.5, "the power of the inputs' norms")
            .range(0.0..=2.0)
            .needs(Statistic::ColumnNorms)
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { power: options.float("power")? as f32 })
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let (device, weight) = (run.device(), &layer.weight);
        let scores = self.scores(layer, run)?;
        Ok(match layer.target {
            Sparsity::Ratio(_) => {
                // As published, all up to the value at this place of the sorted scores, counted from 0.
                let weights = weight.rows() * weight.cols();
                let count = (layer.target.count(weights) + 1).min(weights);
                device.select(&scores, Selection::Whole { count })?.into()
            }
            pattern => device.smallest_per_row(&scores, pattern)?.into(),
        })
    }
}

impl Ria {
    pub(crate) fn scores(&self, layer: &Layer, run: &Run) -> Result<Tensor> {
        let (device, weight) = (run.device(), &layer.weight);
        let share = |axis| {
            // A row or column of zeros has no shares.
            let tiny = device.from_slice(1, 1, &[f32::MIN_POSITIVE])?;
            let sums = device.reduce(Reduction::SumAbs, axis, weight)?;
            let sums = device.zip(Unary::Identity, &sums, Binary::Maximum, &tiny)?;
            device.zip(Unary::Abs, weight, Binary::Divide, &sums)
        };
        let relative = device.axpy(&share(Axis::EachRow)?, 1.0, &share(Axis::EachColumn)?)?;
        let power = device.from_slice(1, 1, &[self.power])?;
        let norms = device.zip(Unary::Identity, layer.statistics.column_norms()?, Binary::Power, &power)?;
        device.zip(Unary::Identity, &relative, Binary::Multiply, &norms)
    }
}
