//! OWL (Yin et al., 2310.05175): blocks with more outliers among their scores lose less.

use espalier_sdk::{
    Binary, Layer, Method, MethodInfo, Model, OptionKind, Options, Result, Run, Scope, Sparsity, Statistic,
    Unary,
};

pub(crate) struct Owl {
    outlier: f64,
    lambda: f64,
}

impl Method for Owl {
    fn info() -> MethodInfo {
        MethodInfo::new("owl", "sets each block's sparsity by its share of outliers")
            .paper("Yin et al., 2310.05175")
            .scope(Scope::Model)
            .option("outlier", OptionKind::Float, 5.0, "how many times the mean score an outlier is")
            .range(1.0..=1e6)
            .option("lambda", OptionKind::Float, 0.08, "how far a block's sparsity may be from the mean")
            .range(0.0..=0.5)
            .without_patterns()
            .needs(Statistic::ColumnNorms)
            .requires("survey")
            .requires("set_target")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { outlier: options.float("outlier")?, lambda: options.float("lambda")? })
    }

    fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
        let blocks = model.blocks();
        let mut shares = vec![0.0; blocks];
        model.survey(|block| {
            run.progress(block.index(), blocks)?;
            let (mut outliers, mut all) = (0, 0);
            for projection in block.layers() {
                let scores = self.scores(&block.layer(projection)?, run)?;
                let mean = scores.iter().map(|&score| f64::from(score)).sum::<f64>() / scores.len() as f64;
                outliers += scores.iter().filter(|&&score| f64::from(score) > self.outlier * mean).count();
                all += scores.len();
            }
            shares[block.index()] = outliers as f64 / all.max(1) as f64;
            Ok(())
        })?;
        let target = model.sparsity();
        for (block, sparsity) in self.spread(&shares, target).into_iter().enumerate() {
            run.number(format!("sparsity of block {block}"), sparsity)?;
            model.set_target(block, None, Sparsity::Ratio(sparsity))?;
        }
        Ok(())
    }
}

impl Owl {
    /// Wanda's.
    fn scores(&self, layer: &Layer, run: &Run) -> Result<Vec<f32>> {
        let norms = layer.statistics.column_norms()?;
        run.device().zip(Unary::Abs, &layer.weight, Binary::Multiply, norms)?.to_vec()
    }

    /// Sparsities around the target, the least where there are most outliers.
    fn spread(&self, shares: &[f64], target: f64) -> Vec<f64> {
        let (least, most) = shares.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
        let width = if most > least { 2.0 * self.lambda / (most - least) } else { 0.0 };
        let raised: Vec<f64> = shares.iter().map(|share| (share - least) * width).collect();
        let mean = raised.iter().sum::<f64>() / raised.len() as f64;
        raised.into_iter().map(|raised| (target + mean - raised).clamp(0.0, 1.0)).collect()
    }
}
