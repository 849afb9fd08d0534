//! Times the forward and the backward pass of a model's first block, with gradients by every weight and the input:
//!
//! ```text
//! cargo bench -p espalier-tests --bench backward -- MODEL [--sequences 4] [--seqlen 512] [--device cpu|gpu] [--repeats 5]
//! ```
//!
//! Prints one JSON line, the medians of `repeats` after one run that does not count. `pytorch_backward.py` does the same with
//! PyTorch's autograd. MODEL is a folder, such as `make_model.py` writes.

use clap::Parser;
use espalier_host::{device::Device, model::Llama};
use espalier_tests::{cpu, gpu, random::Random};
use std::{error::Error, path::PathBuf, sync::Arc, time::Instant};

/// Times the forward and the backward pass of a block.
#[derive(Parser)]
struct Args {
    model: PathBuf,
    #[arg(long, default_value_t = 4)]
    sequences: usize,
    #[arg(long, default_value_t = 512)]
    seqlen: usize,
    #[arg(long, default_value = "cpu")]
    device: String,
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The argument that `cargo bench` adds to every call.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device: Arc<dyn Device> = if args.device == "gpu" { gpu() } else { cpu() };
    let model = Llama::open(&args.model, Arc::clone(&device))?;
    let block = model.load_block(0)?;
    let sequence = vec![1_u32; args.seqlen];
    let sequences = vec![sequence.as_slice(); args.sequences];
    let batch = model.batch(&sequences)?;
    let (tokens, width) = (args.sequences * args.seqlen, model.config.hidden_size);
    let mut random = Random::new(1);
    let (hidden, gradient) = (random.normal(tokens * width), random.normal(tokens * width));
    let gradient = device.from_f32(tokens, width, gradient)?;
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for _ in 0..=args.repeats {
        let entering = device.from_f32(tokens, width, hidden.clone())?;
        let started = Instant::now();
        let (tape, _output) = model.record(&block, &batch, entering, &[])?;
        device.synchronize()?;
        forward.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let _gradients = model.backward(&block, tape, &gradient)?;
        device.synchronize()?;
        backward.push(started.elapsed().as_secs_f64());
    }
    let median = |seconds: &mut Vec<f64>| {
        let counted = &mut seconds[1..];
        counted.sort_by(f64::total_cmp);
        counted[counted.len() / 2]
    };
    let report = serde_json::json!({
        "tokens": tokens, "seqlen": args.seqlen, "device": device.info().to_string(),
        "forward_s": median(&mut forward), "backward_s": median(&mut backward), "peak_bytes": device.peak_bytes(),
    });
    println!("{report}");
    Ok(())
}
