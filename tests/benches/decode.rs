//! Times greedy decoding on the CPU, beside the rate at which this machine's memory is read:
//!
//! ```text
//! cargo bench -p espalier-tests --bench decode -- MODEL [--tokens 32] [--sequences 1,16] [--repeats 3]
//! ```
//!
//! MODEL is a folder, such as `make_model.py` writes, or an archive of `host pack`. Prints one JSON line, with the best of `repeats`
//! runs: what the machine does beside only takes time away. `decode.py` puts it beside other programs.

use clap::Parser;
use espalier_host::model::{Generation, Llama, resolve};
use espalier_tests::cpu;
use serde_json::json;
use std::{error::Error, hint::black_box, thread, time::Instant};

/// Times greedy decoding.
#[derive(Parser)]
struct Args {
    model: String,
    /// Tokens that are written after the first.
    #[arg(long, default_value_t = 32)]
    tokens: usize,
    /// How many sequences at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    sequences: Vec<usize>,
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// The argument that `cargo bench` adds to every call.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let model = Llama::open(&resolve(&args.model)?, cpu())?;
    let mut stream = stream(args.repeats);
    let mut rates = serde_json::Map::new();
    for &count in &args.sequences {
        let prompts: Vec<[u32; 3]> = (0..count).map(|number| [1, 100 + number as u32, 7]).collect();
        let prompts: Vec<&[u32]> = prompts.iter().map(|prompt| &prompt[..]).collect();
        let seconds = |tokens: usize| -> Result<f64, Box<dyn Error>> {
            let mut options = Generation::greedy(&model.config, tokens);
            options.end_tokens.clear();
            let started = Instant::now();
            model.generate(&prompts, &options, || {})?;
            Ok(started.elapsed().as_secs_f64())
        };
        let mut best = 0.0_f64;
        // The first run reads the file.
        seconds(1)?;
        for _ in 0..args.repeats {
            let first = seconds(1)?;
            best = best.max((args.tokens * count) as f64 / (seconds(1 + args.tokens)? - first));
        }
        rates.insert(count.to_string(), json!(best));
    }
    stream = stream.max(self::stream(args.repeats));
    let read = weights(&model) as f64;
    let share = rates.get("1").and_then(|rate| rate.as_f64()).map(|rate| rate * read / stream);
    let report = json!({
        "device": model.device.info().to_string(),
        "stream_bytes_per_second": stream,
        "bytes_per_token": read,
        "tokens_per_second": rates,
        "share_of_stream": share,
    });
    println!("{report}");
    Ok(())
}

/// The bytes of weights that a token's step reads: all but the rows of the embedding.
fn weights(model: &Llama) -> usize {
    let checkpoint = &model.checkpoint;
    let names = checkpoint.names().filter(|name| {
        *name != checkpoint.embedding(&model.config) || *name == checkpoint.head(&model.config)
    });
    let dense: usize = names.map(|name| checkpoint.tensor_bytes(name)).sum();
    let (_, packed, unpacked) = checkpoint.packing();
    dense - unpacked + packed
}

/// The bytes a second at which all threads together read 2 GB, at best.
fn stream(repeats: usize) -> f64 {
    const WORDS: usize = 1 << 28;
    let words = vec![1_u64; WORDS];
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let runs = (0..repeats + 1).map(|_| {
        let started = Instant::now();
        thread::scope(|scope| {
            for part in words.chunks(WORDS.div_ceil(threads)) {
                scope.spawn(|| black_box(sum(part)));
            }
        });
        (size_of::<u64>() * WORDS) as f64 / started.elapsed().as_secs_f64()
    });
    runs.fold(0.0, f64::max)
}

/// A sum with the widest vectors there are.
fn sum(words: &[u64]) -> u64 {
    #[inline(always)]
    fn lanes(words: &[u64]) -> u64 {
        let mut sums = [0_u64; 64];
        for words in words.as_chunks::<64>().0 {
            for (sum, word) in sums.iter_mut().zip(words) {
                *sum = sum.wrapping_add(*word);
            }
        }
        sums.into_iter().fold(0, u64::wrapping_add)
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512(words: &[u64]) -> u64 {
            lanes(words)
        }
        #[target_feature(enable = "avx2")]
        fn avx2(words: &[u64]) -> u64 {
            lanes(words)
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it.
            return unsafe { avx512(words) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            return unsafe { avx2(words) };
        }
    }
    lanes(words)
}
