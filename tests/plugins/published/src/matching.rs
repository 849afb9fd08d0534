//! Block matching, as EBFT (Guo et al., 2402.12419) does: the mask of the stage before stays, and what is kept learns by Adam
//! (Kingma & Ba, 1412.6980) to give the dense block's output.

use espalier_sdk::{
    Axis, Binary, Block, DType, Device, Error, Method, MethodInfo, OptionKind, Options, Pruned, Reduction,
    Result, Run, Scope, Tensor, Unary,
};

const BETAS: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

pub(crate) struct BlockMatching {
    epochs: usize,
    lr: f32,
}

/// A layer that learns.
struct Learner {
    projection: String,
    weight: Tensor,
    mask: espalier_sdk::Mask,
    mean: Tensor,
    square: Tensor,
}

impl Method for BlockMatching {
    fn info() -> MethodInfo {
        MethodInfo::new("block_matching", "lets what is kept of a block learn the dense block's output")
            .paper("Guo et al., 2402.12419")
            .scope(Scope::Block)
            .option("epochs", OptionKind::Integer, 5, "passes over the calibration data")
            .range(1.0..=1000.0)
            .option("lr", OptionKind::Float, 1e-3, "Adam's step")
            .range(0.0..=1.0)
            .requires("backward")
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self { epochs: options.integer("epochs")? as usize, lr: options.float("lr")? as f32 })
    }

    fn block(&self, block: &mut Block, run: &Run) -> Result<()> {
        let device = run.device();
        let mut learners = Vec::new();
        for projection in block.layers() {
            let layer = block.layer(projection)?;
            let nothing =
                || Error::invalid("nothing is pruned yet: name a stage before, such as wanda,block_matching");
            let zeros = || device.zeros(DType::F32, layer.weight.rows(), layer.weight.cols());
            learners.push(Learner {
                projection: projection.clone(),
                weight: device.map(Unary::Identity, &layer.weight)?,
                mean: zeros()?,
                square: zeros()?,
                mask: layer.mask.ok_or_else(nothing)?,
            });
        }
        let steps = self.epochs * block.batches();
        for step in 0..steps {
            run.progress(step, steps)?;
            let batch = step % block.batches();
            let weights: Vec<_> =
                learners.iter().map(|learner| (learner.projection.as_str(), &learner.weight)).collect();
            let tape = block.forward(batch, &weights)?;
            let difference = device.axpy(tape.output(), -1.0, &block.dense_output(batch)?)?;
            let elements = (difference.rows() * difference.cols()) as f32;
            let loss = mean_square(&difference, device)?;
            run.number(format!("block {} loss {step}", block.index()), loss)?;
            // Of the mean square.
            let gradient = device.affine(Unary::Identity, &difference, 2.0 / elements, 0.0)?;
            let gradients = tape.backward(&gradient)?;
            for learner in &mut learners {
                let gradient = gradients.weight(&learner.projection)?;
                learner.descend(gradient, self.lr, step as i32 + 1, device)?;
            }
        }
        for Learner { projection, weight, mask, .. } in learners {
            block.set(&projection, Pruned::from((weight, mask)))?;
        }
        Ok(())
    }
}

impl Learner {
    /// A step of Adam on what is kept.
    fn descend(&mut self, gradient: &Tensor, lr: f32, step: i32, device: &Device) -> Result<()> {
        let gradient = device.zero_where(&self.mask, gradient)?;
        let blend = |old: &Tensor, new: &Tensor, beta: f32| {
            device.axpy(&device.affine(Unary::Identity, old, beta, 0.0)?, 1.0 - beta, new)
        };
        self.mean = blend(&self.mean, &gradient, BETAS.0)?;
        self.square = blend(&self.square, &device.map(Unary::Square, &gradient)?, BETAS.1)?;
        let (first, second) = (1.0 - BETAS.0.powi(step), 1.0 - BETAS.1.powi(step));
        // m̂ / (√v̂ + ε)
        let root = device.affine(Unary::Sqrt, &self.square, second.sqrt().recip(), EPSILON)?;
        let update = device.zip(Unary::Identity, &self.mean, Binary::Divide, &root)?;
        self.weight = device.axpy(&self.weight, -lr / first, &update)?;
        Ok(())
    }
}

fn mean_square(x: &Tensor, device: &Device) -> Result<f64> {
    let rows = device.reduce(Reduction::SumSquares, Axis::EachRow, x)?.to_vec()?;
    Ok(rows.into_iter().map(f64::from).sum::<f64>() / (x.rows() * x.cols()) as f64)
}
