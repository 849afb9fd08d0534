//! Wanda-sp (An et al., 2312.11983): Wanda's scores summed over what goes together. Of every block the neurons and heads with the
//! smallest sums are left out.

use espalier_sdk::{
    Axis, Binary, Block, Device, Error, Method, MethodInfo, Model, OptionKind, Options, Part, Reduction,
    Result, Run, Scope, Statistic, Unary,
};

pub(crate) struct WandaSp {
    share: f64,
}

impl Method for WandaSp {
    fn info() -> MethodInfo {
        MethodInfo::new("wanda_sp", "leaves out the neurons and heads with the smallest scores")
            .paper("An et al., 2312.11983")
            .scope(Scope::Model)
            .option("share", OptionKind::Float, 0.25, "the share of neurons and of heads that is left out")
            .range(0.0..=0.95)
            .needs(Statistic::ColumnNorms)
            .requires("keep")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { share: options.float("share")? })
    }

    fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
        let (blocks, head) = (model.blocks(), model.queries_per_head() * model.head_dim());
        let mut kept = Vec::new();
        model.survey(|block| {
            run.progress(block.index(), blocks)?;
            let neurons = scores(block, "down_proj", 1, run.device())?;
            let heads = scores(block, "o_proj", head, run.device())?;
            kept.push((block.index(), self.largest(&neurons), self.largest(&heads)));
            Ok(())
        })?;
        for (block, neurons, heads) in kept {
            model.keep(block, Part::Neurons, &neurons)?;
            model.keep(block, Part::Heads, &heads)?;
        }
        Ok(())
    }
}

impl WandaSp {
    /// The indices of the largest scores, in ascending order.
    fn largest(&self, scores: &[f64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let mut kept = order.split_off((self.share * scores.len() as f64) as usize);
        kept.sort_unstable();
        kept
    }
}

/// The sums of Wanda's scores over every so many columns of a layer.
fn scores(block: &Block, name: &str, width: usize, device: &Device) -> Result<Vec<f64>> {
    let layer = block.layer(name)?;
    let norms = layer.statistics.column_norms()?;
    let scores = device.zip(Unary::Abs, &layer.weight, Binary::Multiply, norms)?;
    let columns = device.reduce(Reduction::Sum, Axis::EachColumn, &scores)?.to_vec()?;
    if columns.len() % width != 0 {
        return Err(Error::invalid(format!("{} columns of {name} in groups of {width}", columns.len())));
    }
    Ok(columns.chunks(width).map(|group| group.iter().map(|&score| f64::from(score)).sum()).collect())
}
