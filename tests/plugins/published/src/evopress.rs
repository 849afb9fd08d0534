//! EvoPress (Sieberling et al., 2410.14649), in its simplest form: sparsities are moved between blocks as long as the pruned
//! model's loss falls.

use espalier_sdk::{
    LayerTarget, Method, MethodInfo, Model, OptionKind, Options, Result, Rng, Run, Scope, Sparsity,
};

pub(crate) struct EvoPress {
    generations: usize,
    step: f64,
    windows: usize,
}

impl Method for EvoPress {
    fn info() -> MethodInfo {
        MethodInfo::new("evopress", "moves sparsity between blocks while the pruned model's loss falls")
            .paper("Sieberling et al., 2410.14649")
            .scope(Scope::Model)
            .option("generations", OptionKind::Integer, 20, "how many moves are tried")
            .range(0.0..=1e6)
            .option("step", OptionKind::Float, 0.05, "how much sparsity is moved")
            .range(0.0..=1.0)
            .option("windows", OptionKind::Integer, 8, "calibration windows that a loss is taken on")
            .range(1.0..=1e6)
            .without_patterns()
            .requires("trial")
    }

    fn new(options: &Options) -> Result<Self> {
        let integer = |name| Ok::<_, espalier_sdk::Error>(options.integer(name)? as usize);
        Ok(Self {
            generations: integer("generations")?,
            step: options.float("step")?,
            windows: integer("windows")?,
        })
    }

    fn model(&self, model: &mut Model, run: &Run) -> Result<()> {
        let mut best = model.layers().to_vec();
        let mut loss = model.trial(&best, self.windows)?;
        run.number("loss at first", loss)?;
        let mut rng = run.rng();
        for generation in 0..self.generations {
            run.progress(generation, self.generations)?;
            let Some(moved) = self.moved(&best, model.blocks(), &mut rng) else { continue };
            let tried = model.trial(&moved, self.windows)?;
            if tried < loss {
                (best, loss) = (moved, tried);
            }
        }
        run.number("loss", loss)?;
        best.iter().try_for_each(|layer| model.set_target(layer.block, Some(&layer.projection), layer.target))
    }
}

impl EvoPress {
    /// The targets with some sparsity moved from one block to another: the total stays, as blocks are of one size.
    fn moved(&self, layers: &[LayerTarget], blocks: usize, rng: &mut Rng) -> Option<Vec<LayerTarget>> {
        let (from, to) = (rng.below(blocks), rng.below(blocks));
        let mut layers = layers.to_vec();
        for layer in
            layers.iter_mut().filter(|layer| from != to && (layer.block == from || layer.block == to))
        {
            let change = if layer.block == from { -self.step } else { self.step };
            let ratio = layer.target.ratio() + change;
            if !(0.05..=0.95).contains(&ratio) {
                return None;
            }
            layer.target = Sparsity::Ratio(ratio);
        }
        (from != to).then_some(layers)
    }
}
