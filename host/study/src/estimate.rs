//! The cost of a cell: floating-point operations, and from a short measurement of the device the time; room
//! on the disk and on the device.

use super::{Cell, Result, Study};
use espalier_device::{DType, Device};
use espalier_model::{
    BATCH_TOKENS, Llama, LlamaConfig, Window,
    layout::{LayerInput, Projection},
};
use espalier_prune::MemoryPlan;
use espalier_sdk::Statistic;
use serde::Serialize;
use std::{collections::BTreeMap, time::Instant};

/// The estimated cost of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Seconds to prune.
    pub pruning_seconds: f64,
    /// Seconds to evaluate, should every answer be as long as it may be.
    pub evaluation_seconds: f64,
    /// Floating-point operations.
    pub operations: f64,
    /// Bytes on the disk while it runs; they stay only where pruned models are kept.
    pub disk_bytes: u64,
    /// The most bytes on the device.
    pub memory_bytes: u64,
}

impl Estimate {
    /// Seconds, all in all.
    pub fn seconds(&self) -> f64 {
        self.pruning_seconds + self.evaluation_seconds
    }
}

/// Floating-point operations a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// Where many tokens go through a layer at once.
    pub(super) many: f64,
    /// Where one token of each of a few sequences does, as when text is written.
    pub(super) few: f64,
}

/// Sequences that are written at the same time, about.
const SEQUENCES: usize = 16;

/// Bytes of text that make a token, about.
const BYTES_A_TOKEN: u64 = 4;

/// How much there is to evaluate on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    /// Tokens to read, summed over all items.
    pub(super) read: f64,
    /// Tokens to write, at most.
    pub(super) written: f64,
}

impl Extent {
    /// Of so many bytes of text, and so many answers of so many tokens.
    pub(super) fn new(bytes: u64, answers: usize, max_new_tokens: usize) -> Self {
        Self { read: (bytes / BYTES_A_TOKEN) as f64, written: (answers * max_new_tokens) as f64 }
    }
}

impl Rates {
    /// Measures the device on a layer of this model, for a fraction of a second.
    pub(super) fn measure(device: &dyn Device, config: &LlamaConfig) -> Result<Self> {
        let rate = |rows: usize| -> Result<f64> {
            let (outputs, inputs) = Projection::Up.shape(config);
            let x = device.zeros(DType::F32, rows, inputs)?;
            let weight = device.zeros(DType::F32, outputs, inputs)?;
            let mut y = device.zeros(DType::F32, rows, outputs)?;
            device.linear(&x, &weight, None, false, &mut y)?;
            device.synchronize()?;
            let (started, mut runs) = (Instant::now(), 0u32);
            while runs < 2 || started.elapsed().as_millis() < 100 {
                device.linear(&x, &weight, None, false, &mut y)?;
                device.synchronize()?;
                runs += 1;
            }
            let operations = 2.0 * (rows * outputs * inputs) as f64 * f64::from(runs);
            Ok(operations / started.elapsed().as_secs_f64())
        };
        Ok(Self { many: rate(512)?, few: rate(SEQUENCES)? })
    }
}

/// The cost of a model's forward pass.
struct ModelShape<'a> {
    config: &'a LlamaConfig,
    /// Weights of a block's linear layers.
    block: f64,
    blocks: f64,
    head: f64,
}

impl<'a> ModelShape<'a> {
    fn new(config: &'a LlamaConfig) -> Self {
        let weights = Projection::ALL.into_iter().map(|projection| {
            let (rows, cols) = projection.shape(config);
            (rows * cols) as f64
        });
        Self {
            config,
            block: weights.sum(),
            blocks: config.num_hidden_layers as f64,
            head: (config.vocab_size * config.hidden_size) as f64,
        }
    }

    /// Bytes that evaluating takes: one block, the next or its weights widened, the head, and a batch's states.
    fn evaluating(&self) -> u64 {
        let batch = BATCH_TOKENS * (self.config.intermediate_size + 5 * self.config.hidden_size);
        (4.0 * (2.0 * self.block + self.head + batch as f64)) as u64
    }

    /// Operations for a token in a block, with so many tokens of its window before it on average.
    fn token(&self, before: f64) -> f64 {
        2.0 * self.block + 4.0 * before * self.config.query_size() as f64
    }

    /// Operations to measure statistics of a block's inputs on so many tokens.
    fn statistics(&self, needed: &[Statistic], tokens: f64) -> f64 {
        let inputs: BTreeMap<LayerInput, usize> = Projection::ALL
            .into_iter()
            .map(|projection| (projection.input(), projection.shape(self.config).1))
            .collect();
        let gram = needed.contains(&Statistic::Gram);
        let of_input = |cols: f64| tokens * cols * if gram { cols } else { 2.0 };
        inputs.into_values().map(|cols| of_input(cols as f64)).sum()
    }

    /// Operations of a method in a block, which is guessed from what it measures: with Gram matrices comes
    /// solving with them.
    fn method(&self, needed: &[Statistic]) -> f64 {
        let layers = Projection::ALL.into_iter().map(|projection| {
            let (rows, cols) = projection.shape(self.config);
            let (rows, cols) = (rows as f64, cols as f64);
            if needed.contains(&Statistic::Gram) {
                2.0 * cols * cols * (cols + rows)
            } else {
                64.0 * rows * cols
            }
        });
        layers.sum()
    }
}

/// The cost of a cell, where its pass through the model was made for another cell if it is `passed`. `weights` is the
/// size of the model's files.
pub(super) fn estimate(
    study: &Study,
    cell: &Cell,
    passed: bool,
    evaluations: &[Extent],
    weights: u64,
    model: &Llama,
    rates: Rates,
) -> Result<Estimate> {
    let config = &model.config;
    let shape = ModelShape::new(config);
    let mut pruning = 0.0;
    let mut memory_bytes = shape.evaluating();
    let mut disk_bytes = 0;
    if let Some(variant) = &cell.variant {
        let method = &study.methods[variant.method];
        let needed = &method.method.statistics();
        let (samples, seqlen) =
            variant.calibration.map_or((0, 0), |drawn| study.calibrations[drawn.set].extent(config));
        if !passed {
            let tokens = (samples * seqlen) as f64;
            // Behind pruned predecessors every block is run twice: to measure, and to go on.
            let passes = if method.propagate { 2.0 } else { 1.0 };
            let block = passes * tokens * shape.token(seqlen as f64 / 2.0) + shape.statistics(needed, tokens);
            pruning += shape.blocks * block;
        }
        pruning += shape.blocks * shape.method(needed);
        disk_bytes = weights;
        let settings = method.settings(&study.models[cell.model], variant.sparsity, 0);
        // Only their lengths count.
        let window = vec![0; seqlen];
        let windows = vec![Window::from(window.as_slice()); samples];
        let plan = [method.method.plan(&settings)];
        let spill = std::env::temp_dir();
        let memory = MemoryPlan::new(model, &plan, &windows, BATCH_TOKENS, true, settings.memory, &spill)?;
        memory_bytes = memory_bytes.max(memory.device_peak);
    }
    let mut evaluation_seconds = 0.0;
    let mut evaluating = 0.0;
    for extent in evaluations {
        let token = shape.blocks * shape.token(0.0) + 2.0 * shape.head;
        evaluating += token * (extent.read + extent.written);
        evaluation_seconds += token * (extent.read / rates.many + extent.written / rates.few);
    }
    Ok(Estimate {
        pruning_seconds: pruning / rates.many,
        evaluation_seconds,
        operations: pruning + evaluating,
        disk_bytes,
        memory_bytes,
    })
}
