//! RIA's second half (Zhang et al., ICLR 2024): before a pattern is pruned, neurons are dealt out to the groups of `down_proj`'s
//! columns by their importance, so that the important ones do not meet in one group.

use crate::ria::Ria;
use espalier_sdk::{
    Axis, Block, Layer, Method, MethodInfo, OptionKind, Options, Part, Pruned, Reduction, Result, Run, Scope,
    Sparsity, Statistic,
};

pub(crate) struct RiaPermuted {
    ria: Ria,
    groups: usize,
}

impl Method for RiaPermuted {
    fn info() -> MethodInfo {
        let ria = Ria::info();
        MethodInfo {
            options: ria.options,
            ..MethodInfo::new("ria_permuted", "as ria, with channels dealt out to groups")
        }
        .paper("Zhang et al., ICLR 2024")
        .scope(Scope::Block)
        .option(
            "groups",
            OptionKind::Integer,
            0,
            "where the target is no pattern: only deals out to groups of so many columns",
        )
        .range(0.0..=32.0)
        .needs(Statistic::ColumnNorms)
        .requires("permute")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { ria: Ria::new(options)?, groups: options.integer("groups")? as usize })
    }

    fn block(&self, block: &mut Block, run: &Run) -> Result<()> {
        let down = block.layer("down_proj")?;
        let (is_pattern, groups) = match down.target {
            Sparsity::Pattern { m, .. } => (true, m),
            _ => (false, self.groups),
        };
        if groups > 0 {
            let scores = self.ria.scores(&down, run)?;
            let sums = run.device().reduce(Reduction::Sum, Axis::EachColumn, &scores)?.to_vec()?;
            drop(down);
            block.permute(Part::Neurons, &dealt(&sums, groups))?;
        }
        if !is_pattern && groups > 0 {
            return Ok(());
        }
        for projection in block.layers().to_vec() {
            let pruned = self.ria.layer(&block.layer(&projection)?, run)?;
            block.set(&projection, pruned)?;
        }
        Ok(())
    }

    fn layer(&self, layer: &Layer, run: &Run) -> Result<Pruned> {
        self.ria.layer(layer, run)
    }
}

/// The places of channels that are dealt out to groups of `m`, the most important first, and back again from the other end.
fn dealt(importance: &[f32], m: usize) -> Vec<usize> {
    let mut sorted: Vec<usize> = (0..importance.len()).collect();
    sorted.sort_by(|&a, &b| importance[b].total_cmp(&importance[a]));
    let groups = importance.len() / m;
    let mut order = vec![0; importance.len()];
    for (place, channel) in sorted.into_iter().enumerate() {
        let (round, at) = (place / groups, place % groups);
        let group = if round % 2 == 0 { at } else { groups - 1 - at };
        order[group * m + round] = channel;
    }
    order
}
