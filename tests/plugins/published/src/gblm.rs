//! GBLM-Pruner (Das et al., 2311.04902): Wanda's score with the norm of a weight's gradients over the calibration windows beside
//! that of its inputs.

use espalier_sdk::{
    Binary, Layer, Method, MethodInfo, OptionKind, Options, Pruned, Result, Run, Statistic, Unary,
};

pub(crate) struct Gblm {
    alpha: f32,
}

impl Method for Gblm {
    fn info() -> MethodInfo {
        MethodInfo::new("gblm", "drops the smallest magnitudes times norms of inputs and gradients")
            .paper("Das et al., 2311.04902")
            .option("alpha", OptionKind::Float, 100.0, "the factor of the gradients' norms")
            .range(0.0..=1e9)
            .needs(Statistic::ColumnNorms)
            .needs(Statistic::GradientSquares)
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { alpha: options.float("alpha")? as f32 })
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let device = run.device();
        let gradients = device.affine(Unary::Sqrt, layer.statistics.gradient_squares()?, self.alpha, 0.0)?;
        let norms = device.zip(Unary::Identity, &gradients, Binary::Add, layer.statistics.column_norms()?)?;
        let scores = device.zip(Unary::Abs, &layer.weight, Binary::Multiply, &norms)?;
        Ok(layer.smallest_per_row(device, &scores)?.into())
    }
}
