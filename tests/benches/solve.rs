//! Times a method on one random layer, over the plugin border as in a run:
//!
//! ```text
//! cargo build --release && cargo bench -p espalier-tests --bench solve -- ROWS COLS
//!     [--plugin sparsegpt] [--sparsity 0.5] [--device cpu|gpu] [--repeats 3]
//! ```
//!
//! Prints one JSON line; `total_s` is the median of `repeats` after one run that does not count. Weights and inputs
//! are drawn as in `pytorch_solve.py`, which times the published algorithm; gathering statistics is not part of it.

use clap::Parser;
use espalier_host::{
    device::{DType, Device, Op, Tensor},
    plugins::{DeviceTensors, NoHost, PluginMethod, find, load},
};
use espalier_sdk::{
    Sparsity, Statistic,
    message::{LayerData, MethodCall},
};
use espalier_tests::{built, cpu, gpu, random::Random};
use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, RwLock},
    time::Instant,
};

/// Times a method on one random layer.
#[derive(Parser)]
struct Args {
    rows: usize,
    cols: usize,
    #[arg(long, default_value = "sparsegpt")]
    plugin: String,
    #[arg(long, default_value = "0.5")]
    sparsity: Sparsity,
    #[arg(long, default_value = "cpu")]
    device: String,
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// The argument that `cargo bench` adds to every call.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = if args.device == "gpu" { gpu() } else { cpu() };
    let library = built().join(format!("lib{}.so", args.plugin));
    let library = load(&find(&library.to_string_lossy())?)?;
    let name = library.info().methods.first().ok_or("the library offers no method")?.name.clone();
    let (method, info, _) = library.method(&name, &BTreeMap::new())?;
    let layer = Layer::random(&*device, args.rows, args.cols, &info.statistics)?;

    let mut seconds = Vec::new();
    for _ in 0..=args.repeats {
        let started = Instant::now();
        layer.prune(&device, &method, args.sparsity)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let counted = &mut seconds[1..];
    counted.sort_by(f64::total_cmp);
    let report = serde_json::json!({
        "rows": args.rows, "cols": args.cols, "target": args.sparsity.to_string(), "plugin": args.plugin,
        "device": device.info().name, "total_s": counted[counted.len() / 2],
    });
    println!("{report}");
    Ok(())
}

/// A weight and the statistics of its inputs.
struct Layer {
    weight: Vec<f32>,
    shape: (usize, usize),
    tokens: usize,
    statistics: Vec<(Statistic, Arc<RwLock<Tensor>>)>,
}

impl Layer {
    fn random(
        device: &dyn Device,
        rows: usize,
        cols: usize,
        needed: &[Statistic],
    ) -> Result<Self, Box<dyn Error>> {
        let mut random = Random::new(0);
        let weight = random.normal(rows * cols).into_iter().map(|x| x * 0.02).collect();
        let scales: Vec<f32> = random.normal(cols).into_iter().map(|x| (0.5 * x).exp()).collect();
        // In pieces, so that the inputs are never held as a whole.
        let (tokens, piece) = (2 * cols, 512);
        let mut gram = device.zeros(DType::F32, cols, cols)?;
        for start in (0..tokens).step_by(piece) {
            let count = piece.min(tokens - start);
            let mut inputs = random.normal(count * cols);
            inputs.iter_mut().enumerate().for_each(|(at, x)| *x *= scales[at % cols]);
            let inputs = device.from_f32(count, cols, inputs)?;
            device.execute(Op::Gram { x: &inputs }, &mut gram)?;
        }
        let mut statistics = Vec::new();
        for &kind in needed {
            let tensor = match kind {
                Statistic::Gram => {
                    let bytes = device.read(&gram)?.into();
                    device.upload(DType::F32, cols, cols, bytes)?
                }
                Statistic::ColumnNorms => {
                    let mut squares = device.zeros(DType::F32, 1, cols)?;
                    device.execute(Op::Diagonal { x: &gram }, &mut squares)?;
                    let norms = device.to_f32(&squares)?.into_iter().map(f32::sqrt).collect();
                    device.from_f32(1, cols, norms)?
                }
                other => return Err(format!("the benchmark makes no {other:?}").into()),
            };
            statistics.push((kind, Arc::new(RwLock::new(tensor))));
        }
        Ok(Self { weight, shape: (rows, cols), tokens, statistics })
    }

    fn prune(
        &self,
        device: &Arc<dyn Device>,
        method: &PluginMethod,
        sparsity: Sparsity,
    ) -> Result<(), Box<dyn Error>> {
        let tensors = Arc::new(DeviceTensors::new(Arc::clone(device)));
        let weight = device.from_f32(self.shape.0, self.shape.1, self.weight.clone())?;
        let weight = tensors.lend(&Arc::new(RwLock::new(weight)));
        let statistics = self.statistics.iter();
        let statistics = statistics.map(|(kind, tensor)| (LayerData::key(*kind), tensors.lend(tensor)));
        let layer = LayerData {
            name: "layer".to_owned(),
            block: 0,
            projection: "up_proj".to_owned(),
            target: sparsity,
            row_counts: None,
            weight,
            dense: weight,
            mask: None,
            low_rank: None,
            tokens: self.tokens as u64,
            windows: Vec::new(),
            token_weights: None,
            statistics: statistics.collect(),
        };
        let pruned =
            method.prune(&MethodCall::Layer { layer: Box::new(layer), seed: 0 }, &NoHost, tensors.clone())?;
        let weight = pruned.weight.map(|weight| tensors.take(weight.id)).transpose()?;
        tensors.clear();
        device.synchronize()?;
        drop(weight);
        Ok(())
    }
}
