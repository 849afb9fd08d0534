//! The memory plan, made before a run starts, so that any model fits through a small device.
//!
//! On the device are, at one time: one block's weights, the statistics of its inputs, and either one batch's
//! activations or the workspace of pruning one layer. Hidden states of all windows wait on the device if there is
//! room for them too, else in the host's memory, else in a temporary file. Where even that does not fit, batches
//! shrink, to one window if need be. Where there is still room for another block, the next one is loaded meanwhile.

use super::{Plan, PruneError, Result, needed};
use espalier_base::memory;
use espalier_device::DeviceKind;
use espalier_model::{
    BATCH_TOKENS, Llama, Placement, Window,
    layout::{LayerInput, Projection},
    writer,
};
use espalier_sdk::{Order, Statistic};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Bytes of an f32.
const F32: u64 = 4;

/// Matrices of a layer's shape that pruning it takes beside its weight: one of the method's own, and the result in
/// both types.
const LAYER_COPIES: u64 = 3;

/// Matrices of a Gram matrix's shape that a method takes to factor one: on a GPU its factor and what is made of it.
const GRAM_COPIES: u64 = 2;

/// The host's constant memory: the program, a piece of the checkpoint being copied, staging.
const HOST_BASE: u64 = 512 << 20;

/// How much memory a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryBudget {
    /// Bytes on the device; what it has, where this is absent.
    pub device: Option<u64>,
    /// Bytes of the host's memory; what is free, where this is absent.
    pub host: Option<u64>,
}

/// The origin of a device's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetBy {
    /// `--device-memory`
    DeviceMemory,
    /// `--host-memory`, where the device computes in the host's memory.
    HostMemory,
    /// The memory that the device, or the host, has.
    Machine,
}

impl BudgetBy {
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::DeviceMemory => "raise --device-memory",
            Self::HostMemory => "raise --host-memory",
            Self::Machine => "free some memory, take a device with more,",
        }
    }
}

/// A size in bytes as it is typed: `8G`, `512M`, `1.5GiB` (powers of 1024), or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: write a number of bytes with K, M, G or T behind, such as 8G")]
pub struct ParseSizeError(String);

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseSizeError(text.to_owned());
        let upper = text.trim().to_uppercase();
        let plain = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
        let (number, unit) = match plain.chars().last() {
            Some(last) if "KMGT".contains(last) => {
                (&plain[..plain.len() - 1], 1u64 << (10 * (1 + "KMGT".find(last).unwrap_or(0))))
            }
            _ => (plain, 1),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let bytes = number * unit as f64;
        if number.is_finite() && (0.0..u64::MAX as f64).contains(&bytes) {
            Ok(Self(bytes as u64))
        } else {
            Err(wrong())
        }
    }
}

/// The placement of a run's memory, with estimated sizes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryPlan {
    /// Bytes that the device may be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_budget: Option<u64>,
    /// Bytes of the host's memory that may be used.
    pub host_budget: u64,
    /// Where hidden states wait between blocks.
    pub hidden_states: Placement,
    /// The folder of temporary files.
    #[serde(skip)]
    pub spill: PathBuf,
    /// Bytes of all hidden states.
    pub hidden_bytes: u64,
    /// Tokens that go through a block at a time.
    pub batch_tokens: usize,
    /// Bytes of the largest block's weights.
    pub block_bytes: u64,
    /// Whether the next block is loaded while one is worked on, so that the device holds both.
    pub loads_ahead: bool,
    /// Bytes of a block's statistics.
    pub statistics_bytes: u64,
    /// Bytes of one batch's activations, or of pruning one layer, whichever is more.
    pub workspace_bytes: u64,
    /// The most bytes of pruned layers or hidden states on their way to the disk, in the host's memory.
    pub writing_bytes: u64,
    /// The most bytes on the device, estimated.
    pub device_peak: u64,
    /// The most bytes of the host's memory, estimated; mapped pages of the checkpoint, which the system takes back at
    /// will, not counted.
    pub host_peak: u64,
}

/// The device memory beside hidden states, for batches of some size.
struct Needs {
    block: u64,
    statistics: u64,
    layer: u64,
    token: u64,
    writing: u64,
    /// Whether a batch and the work on layers take their memory at the same time.
    tape: bool,
}

impl Needs {
    fn of(model: &Llama, plans: &[Plan], tokens: u64, is_masked: bool) -> Self {
        let config = &model.config;
        let blocks = 0..config.num_hidden_layers;
        let bytes_of = |name: &str| model.checkpoint.tensor_bytes(name) as u64;
        let needed = needed(plans);
        let mut inputs: BTreeMap<LayerInput, u64> = BTreeMap::new();
        let mut layer = 0;
        let mut written = 0;
        for projection in Projection::ALL {
            let pruned =
                |plan: &Plan| blocks.clone().any(|block| plan.targets.of(block, projection).is_some());
            if !plans.iter().any(pruned) {
                continue;
            }
            let names = blocks.clone().map(|block| projection.weight(block));
            written = written.max(names.map(|name| bytes_of(&name)).max().unwrap_or(0));
            let (rows, cols) = projection.shape(config);
            let (rows, cols) = (rows as u64, cols as u64);
            let one = |kind: &Statistic| match kind {
                Statistic::Gram => cols * cols,
                Statistic::Inputs => tokens * cols,
                _ => 2 * cols,
            };
            inputs.insert(projection.input(), F32 * (cols + needed.iter().map(one).sum::<u64>()));
            let solve = if needed.contains(&Statistic::Gram) { GRAM_COPIES * cols * cols } else { 0 };
            let gradients = u64::from(needed.contains(&Statistic::GradientSquares));
            layer = layer.max(F32 * ((1 + LAYER_COPIES + gradients) * rows * cols + solve));
        }
        let statistics = match plans {
            [plan] if plan.propagate && plan.order() == Order::TrueSequential => {
                inputs.values().copied().max().unwrap_or(0)
            }
            _ => inputs.values().sum(),
        };
        // What a block stage keeps of a forward pass for its gradients, and the gradients.
        let tape = plans.iter().any(|plan| plan.has_blocks() || plan.takes_gradients());
        let (hidden, query, key) =
            (config.hidden_size as u64, config.query_size() as u64, config.key_size() as u64);
        // The batch's own states and their norm, and beside them attention's or the MLP's inner states.
        let inner = config.intermediate_size as u64;
        let mut token = F32 * (2 * hidden + (2 * query + 2 * key).max(inner));
        if tape {
            // Inputs and outputs of every layer, twice over in the backward pass, as much again for the method's own; and every
            // weight of the block thrice: dense and current in f32, and its gradient, with room for two moments.
            token = F32 * (2 * (4 * hidden + 2 * query + 2 * key + 4 * inner) + 2 * hidden);
            let all = Projection::ALL.into_iter().map(|projection| projection.shape(config));
            layer += F32 * 6 * all.map(|(rows, cols)| (rows * cols) as u64).sum::<u64>();
        }
        if is_masked {
            // Those of a layer's inputs that count, and the same scaled.
            token += F32 * 2 * hidden.max(query).max(inner);
        }
        // Pruned layers of every plan, or a batch of hidden states that is kept.
        let batch = F32 * hidden * tokens.min(BATCH_TOKENS as u64);
        let writing = writer::IN_FLIGHT as u64 * (plans.len() as u64 * written).max(batch);
        Self { block: model.block_bytes(), statistics, layer, token, writing, tape }
    }

    fn workspace(&self, batch_tokens: usize) -> u64 {
        let batch = batch_tokens as u64 * self.token;
        if self.tape { batch + self.layer } else { batch.max(self.layer) }
    }

    fn device(&self, batch_tokens: usize) -> u64 {
        self.block + self.statistics + self.workspace(batch_tokens)
    }
}

impl MemoryPlan {
    /// The most bytes that tensors may hold on the device: its budget, and something for what allocators round up.
    pub(super) fn device_bound(&self) -> Option<u64> {
        self.device_budget.map(|budget| budget.saturating_add(budget / 8 + (32 << 20)))
    }

    /// Where so many more bytes can wait: beside the plan in the host's memory, or on the disk.
    pub(super) fn beside(&self, bytes: u64) -> Placement {
        if self.host_peak.saturating_add(bytes) <= self.host_budget {
            Placement::Host
        } else {
            Placement::File(self.spill.clone())
        }
    }

    /// The memory plan of runs that share a pass: hidden states as near as they fit, batches of `batch_tokens` tokens and,
    /// with `ahead`, two blocks at a time if that is possible.
    /// `spill` is the folder of a temporary file, should one be needed.
    ///
    /// # Errors
    /// [`PruneError::Memory`] where one block with one window does not fit.
    pub fn new(
        model: &Llama,
        plans: &[Plan],
        windows: &[Window],
        batch_tokens: usize,
        ahead: bool,
        budget: MemoryBudget,
        spill: &Path,
    ) -> Result<Self> {
        let measures = plans.iter().any(Plan::measures);
        let windows = if measures { windows } else { &[] };
        let tokens: u64 = windows.iter().map(|window| window.len() as u64).sum();
        let longest = windows.iter().map(|window| window.len()).max().unwrap_or(0);
        let hidden = F32 * tokens * model.config.hidden_size as u64;
        let is_masked = windows.iter().any(|window| !window.loss_mask.is_empty());
        let needs = Needs::of(model, plans, tokens, is_masked);
        let host_base = HOST_BASE + needs.writing;

        let host_budget = budget.host.or_else(|| Some(memory::available()? / 10 * 9)).unwrap_or(u64::MAX);
        // The CPU's memory is the host's.
        let on_cpu = model.device.info().kind == DeviceKind::Cpu;
        let device_budget = match (budget.device, on_cpu) {
            (Some(given), true) => Some(given.min(host_budget)),
            (Some(given), false) => Some(given),
            (None, true) => Some(host_budget.saturating_sub(host_base.min(host_budget / 2))),
            (None, false) => model.device.info().memory_bytes.map(|bytes| bytes / 10 * 9),
        };
        let limit = device_budget.unwrap_or(u64::MAX);

        let mut batch = batch_tokens.max(longest);
        while needs.device(batch) > limit && batch > longest.max(1) {
            batch = (batch / 2).max(longest).max(1);
        }
        let working = needs.device(batch);
        if working > limit {
            let by = match (budget.device, budget.host) {
                (Some(device), host) if host.is_none_or(|host| !on_cpu || device <= host) => {
                    BudgetBy::DeviceMemory
                }
                (_, Some(_)) if on_cpu => BudgetBy::HostMemory,
                _ => BudgetBy::Machine,
            };
            return Err(PruneError::Memory { by, least: Size(working), budget: Size(limit) });
        }
        let hidden_states = if working.saturating_add(hidden) <= limit {
            Placement::Device
        } else if !on_cpu && host_base + hidden <= host_budget {
            Placement::Host
        } else {
            Placement::File(spill.to_owned())
        };
        let on_device = if hidden_states == Placement::Device { hidden } else { 0 };
        let in_host = if hidden_states == Placement::Host { hidden } else { 0 };
        let end = plans.iter().map(|plan| plan.end(model.config.num_hidden_layers)).max().unwrap_or(0);
        let held = working + on_device;
        let loads_ahead = ahead && end > 1 && held.saturating_add(needs.block) <= limit;
        let device_peak = held + if loads_ahead { needs.block } else { 0 };
        Ok(Self {
            device_budget,
            host_budget,
            hidden_states,
            spill: spill.to_owned(),
            hidden_bytes: hidden,
            batch_tokens: batch,
            block_bytes: needs.block,
            loads_ahead,
            statistics_bytes: needs.statistics,
            workspace_bytes: needs.workspace(batch),
            writing_bytes: needs.writing,
            device_peak,
            host_peak: host_base + in_host + if on_cpu { device_peak } else { 0 },
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let (mut size, mut unit) = (self.0 as f64, 0);
        while size >= 1024.0 && unit + 1 < UNITS.len() {
            size /= 1024.0;
            unit += 1;
        }
        if unit == 0 { write!(f, "{} B", self.0) } else { write!(f, "{size:.1} {}", UNITS[unit]) }
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.hidden_states {
            Placement::Device => "on the device".to_owned(),
            Placement::Host => "in the host's memory".to_owned(),
            Placement::File(folder) => format!("in a temporary file in {}", folder.display()),
        };
        write!(
            f,
            "memory: block {} ({}), statistics {}, workspace {} ({} tokens at a time), hidden states {} {place}; at most {} \
             on the device, {} on the host",
            Size(self.block_bytes),
            if self.loads_ahead { "and the next meanwhile" } else { "one at a time" },
            Size(self.statistics_bytes),
            Size(self.workspace_bytes),
            self.batch_tokens,
            Size(self.hidden_bytes),
            Size(self.device_peak),
            Size(self.host_peak)
        )
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
