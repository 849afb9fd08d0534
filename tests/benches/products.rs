//! Times products with weights, and a Gram matrix, on a device:
//!
//! ```text
//! cargo build --release && cargo bench -p espalier-tests --bench products -- SIDE
//!     [--device cpu|gpu] [--repeats 5]
//! ```
//!
//! Prints one JSON object: for f32, and for f16 and bf16 operands and weights, the rate of `X W^T` of three matrices of
//! this side, and of `X^T X`, in GFLOP/s of the fastest repeat, and the kernel that a GPU's tuner took. As many products as
//! take about a quarter of a second go into a repeat, and are waited for together.

use clap::Parser;
use espalier_host::device::{
    Compute, DType, Device, LinearLayer, Onto, Op,
    choose::{self, DeviceChoice, DeviceRequest},
};
use espalier_tests::gpu::{narrow, noise};
use std::{error::Error, sync::Arc, time::Instant};

/// Times products on a device.
#[derive(Parser)]
struct Args {
    side: usize,
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The argument that `cargo bench` adds to every call.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Seconds of one repeat, about.
const REPEAT: f64 = 0.25;

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let side = args.side;
    let mut rates = serde_json::Map::new();
    let mut name = String::new();
    for (kind, compute, dtype) in [
        ("f32", Compute::F32, DType::F32),
        ("f16", Compute::F16, DType::F16),
        ("bf16", Compute::BF16, DType::BF16),
    ] {
        let device = open(args.device, compute)?;
        name.clone_from(&device.info().name);
        let x = device.from_f32(side, side, noise(1, side * side))?;
        let weight = device.upload(dtype, side, side, narrow(dtype, &noise(2, side * side)).0.into())?;
        let mut y = device.zeros(DType::F32, side, side)?;
        let rate = fastest(&*device, side, args.repeats, &mut || {
            let layer = LinearLayer { weight: &weight, bias: None, onto: Onto::Nothing, y: &mut y };
            Ok(device.linears((&x).into(), &mut [layer])?)
        })?;
        rates.insert(kind.to_owned(), rate.into());
        if compute == Compute::F32 {
            let mut gram = device.zeros(DType::F32, side, side)?;
            let rate = fastest(&*device, side, args.repeats, &mut || {
                Ok(device.execute(Op::Gram { x: &x }, &mut gram)?)
            })?;
            rates.insert("gram_f32".to_owned(), rate.into());
        }
    }
    println!("{}", serde_json::json!({ "side": side, "device": name, "gflops": rates }));
    Ok(())
}

fn open(choice: DeviceChoice, compute: Compute) -> Result<Arc<dyn Device>, Box<dyn Error>> {
    let adapter = std::env::var("ESPALIER_TEST_ADAPTER").ok();
    Ok(choose::open(&DeviceRequest { choice, adapter, compute, ..DeviceRequest::default() })?)
}

/// The rate of a product in the fastest repeat, in GFLOP/s. Both halves of a Gram matrix count.
fn fastest(
    device: &dyn Device,
    side: usize,
    repeats: usize,
    product: &mut dyn FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut seconds = |count: usize| {
        let began = Instant::now();
        (0..count).try_for_each(|_| product())?;
        device.synchronize()?;
        Ok::<_, Box<dyn Error>>(began.elapsed().as_secs_f64())
    };
    // The first one tunes, compiles and allocates.
    seconds(1)?;
    let count = (REPEAT / seconds(1)?).clamp(1.0, 1000.0) as usize;
    let mut best = f64::INFINITY;
    for _ in 0..repeats.max(1) {
        best = best.min(seconds(count)? / count as f64);
    }
    Ok(2.0 * (side as f64).powi(3) / best / 1e9)
}
