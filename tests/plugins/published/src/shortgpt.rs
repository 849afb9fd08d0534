//! ShortGPT (Men et al., 2403.03853): the blocks that change their input least are removed.

use espalier_sdk::{
    Axis, Binary, Block, Device, Error, Method, MethodInfo, Model, OptionKind, Options, Reduction, Result,
    Run, Scope, Tensor, Unary,
};

pub(crate) struct ShortGpt {
    blocks: usize,
}

impl Method for ShortGpt {
    fn info() -> MethodInfo {
        MethodInfo::new("shortgpt", "removes the blocks that change their input least")
            .paper("Men et al., 2403.03853")
            .scope(Scope::Model)
            .option("blocks", OptionKind::Integer, 1, "how many blocks are removed")
            .range(0.0..=1e6)
            .requires("remove")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { blocks: options.integer("blocks")? as usize })
    }

    fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
        if self.blocks >= model.blocks() {
            return Err(Error::invalid(format!(
                "{} of {} blocks cannot be removed",
                self.blocks,
                model.blocks()
            )));
        }
        let mut influence = Vec::new();
        model.survey(|block| {
            let of = influence_of(block, run.device())?;
            run.number(format!("influence of block {}", block.index()), of)?;
            influence.push((of, block.index()));
            Ok(())
        })?;
        influence.sort_by(|a, b| a.0.total_cmp(&b.0));
        influence[..self.blocks].iter().try_for_each(|&(_, block)| model.remove(block))
    }
}

/// One minus the mean cosine of the angle between what enters and what leaves.
fn influence_of(block: &Block, device: &Device) -> Result<f64> {
    let (mut sum, mut tokens) = (0.0, 0);
    for batch in 0..block.batches() {
        let (input, output) = (block.input(batch)?, block.dense_output(batch)?);
        let rows = |f, x: &Tensor| device.reduce(f, Axis::EachRow, x)?.to_vec();
        let products =
            rows(Reduction::Sum, &device.zip(Unary::Identity, &input, Binary::Multiply, &output)?)?;
        let (a, b) = (rows(Reduction::SumSquares, &input)?, rows(Reduction::SumSquares, &output)?);
        for ((product, a), b) in products.iter().zip(a).zip(b) {
            sum += f64::from(*product) / (f64::from(a).sqrt() * f64::from(b).sqrt());
        }
        tokens += products.len();
    }
    Ok(1.0 - sum / tokens.max(1) as f64)
}
