//! Shortened LLaMA (Kim et al., 2402.02834), its Taylor criterion: the blocks go whose weights times their gradients sum to
//! least.

use espalier_sdk::{
    Axis, Binary, Device, Error, Method, MethodInfo, Model, OptionKind, Options, Reduction, Result, Run,
    Scope, Tensor, Unary,
};
use std::collections::BTreeMap;

pub(crate) struct Shortened {
    blocks: usize,
    windows: usize,
}

impl Method for Shortened {
    fn info() -> MethodInfo {
        MethodInfo::new("shortened", "removes the blocks whose loss would change least, by first order")
            .paper("Kim et al., 2402.02834")
            .scope(Scope::Model)
            .option("blocks", OptionKind::Integer, 1, "how many blocks are removed")
            .range(0.0..=1e6)
            .option("windows", OptionKind::Integer, 10, "calibration windows that gradients are taken on")
            .range(1.0..=1e6)
            .requires("gradients")
            .requires("remove")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            blocks: options.integer("blocks")? as usize,
            windows: options.integer("windows")? as usize,
        })
    }

    fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
        let (device, blocks) = (run.device(), model.blocks());
        if self.blocks >= blocks {
            return Err(Error::invalid(format!("{} of {blocks} blocks cannot be removed", self.blocks)));
        }
        let mut importance = vec![0.0; blocks];
        // Of the block at hand: the sum of every layer's gradients over the windows seen.
        let (mut sums, mut seen) = (BTreeMap::<String, Tensor>::new(), 0);
        let windows = self.windows.min(model.windows());
        model.gradients(windows, |block, gradients| {
            seen += 1;
            for name in block.layers() {
                let gradient = gradients.weight(name)?;
                let sum = match sums.get(name) {
                    Some(before) => device.axpy(before, 1.0, gradient)?,
                    None => device.map(Unary::Identity, gradient)?,
                };
                sums.insert(name.clone(), sum);
            }
            if seen == windows {
                for (name, sum) in std::mem::take(&mut sums) {
                    importance[block.index()] += taylor(device, &block.layer(&name)?.weight, &sum)?;
                }
                seen = 0;
                run.progress(blocks - block.index(), blocks)?;
            }
            Ok(())
        })?;
        for (block, importance) in importance.iter().enumerate() {
            run.number(format!("importance of block {block}"), *importance / windows as f64)?;
        }
        let mut order: Vec<usize> = (0..blocks).collect();
        order.sort_by(|&a, &b| importance[a].total_cmp(&importance[b]));
        order[..self.blocks].iter().try_for_each(|&block| model.remove(block))
    }
}

/// `Σ |w · g|`
fn taylor(device: &Device, weight: &Tensor, gradient: &Tensor) -> Result<f64> {
    let products = device.zip(Unary::Identity, weight, Binary::Multiply, gradient)?;
    let rows = device.reduce(Reduction::SumAbs, Axis::EachRow, &products)?.to_vec()?;
    Ok(rows.into_iter().map(f64::from).sum())
}
