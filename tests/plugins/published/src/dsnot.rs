//! DSnoT (Zhang et al., 2310.08915): refines the mask of the stage before. Of every row, weights are grown back and others
//! pruned in their place as long as that brings the expected output nearer to the dense one's.

use espalier_sdk::{
    Error, Layer, Mask, Method, MethodInfo, OptionKind, Options, Pruned, Result, Run, Statistic,
};

pub(crate) struct DsNoT {
    cycles: usize,
    threshold: f64,
}

impl Method for DsNoT {
    fn info() -> MethodInfo {
        MethodInfo::new("dsnot", "swaps weights of the mask before it, without training")
            .paper("Zhang et al., 2310.08915")
            .option("cycles", OptionKind::Integer, 50, "swaps of a row, at most")
            .range(0.0..=10_000.0)
            .option("threshold", OptionKind::Float, 0.1, "the expected error at which a row is left")
            .range(0.0..=f64::MAX)
            .without_patterns()
            .needs(Statistic::ColumnNorms)
            .needs(Statistic::MeanVariance)
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { cycles: options.integer("cycles")? as usize, threshold: options.float("threshold")? })
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        let Some(mask) = &layer.mask else {
            return Err(Error::invalid("nothing is pruned yet: name a stage before, such as wanda,dsnot"));
        };
        let (rows, cols) = (layer.dense.rows(), layer.dense.cols());
        let (weight, norms) = (layer.dense.to_vec()?, layer.statistics.column_norms()?.to_vec()?);
        let moments = layer.statistics.mean_variance()?.to_vec()?;
        let (means, variances) = moments.split_at(cols);
        let mut pruned = mask.to_vec()?;
        for row in 0..rows {
            let inputs = Row { weight: &weight[row * cols..][..cols], norms: &norms, means, variances };
            self.refine(&inputs, &mut pruned[row * cols..][..cols]);
        }
        // Where a weight is grown back, it is the dense one.
        let mask = Mask::from_slice(run.device(), rows, cols, &pruned)?;
        let weight = run.device().zero_where(&mask, &layer.dense)?;
        Ok(Pruned::from((weight, mask)))
    }
}

/// What a row is refined by.
struct Row<'a> {
    weight: &'a [f32],
    norms: &'a [f32],
    means: &'a [f32],
    variances: &'a [f32],
}

impl DsNoT {
    fn refine(&self, row: &Row, pruned: &mut [bool]) {
        // What a pruned weight takes from the row's expected output.
        let part = |col: usize| f64::from(row.weight[col] * row.means[col]);
        let mut error: f64 = (0..pruned.len()).filter(|&col| pruned[col]).map(part).sum();
        for _ in 0..self.cycles {
            if error.abs() <= self.threshold {
                return;
            }
            let helps = |col: usize| part(col) * error > 0.0;
            let gain = |col: usize| part(col).abs() / f64::from(row.variances[col]).max(1e-20);
            let grown = (0..pruned.len())
                .filter(|&col| pruned[col] && helps(col))
                .max_by(|&a, &b| gain(a).total_cmp(&gain(b)).then(b.cmp(&a)));
            let cost = |col: usize| row.weight[col].abs() * row.norms[col];
            let dropped = (0..pruned.len())
                .filter(|&col| !pruned[col] && part(col) * error < 0.0)
                .min_by(|&a, &b| cost(a).total_cmp(&cost(b)).then(a.cmp(&b)));
            let (Some(grown), Some(dropped)) = (grown, dropped) else { return };
            let next = error - part(grown) + part(dropped);
            if next.abs() >= error.abs() {
                return;
            }
            (pruned[grown], pruned[dropped]) = (false, true);
            error = next;
        }
    }
}
