//! A method tried on what is made up, as `host plugin check` does: a method on layers on single layers, a method on
//! blocks or on the model on small whole models.

mod layers;
mod models;

use super::{Method, PruneError, Result};
use espalier_base::{cause::causes, text};
use espalier_device::Device;
use espalier_plugins::PluginRecord;
use espalier_sdk::{Code, Rng, Sparsity};
use serde::Serialize;
use std::sync::Arc;

/// The share of weights that two devices may prune differently: sums differ in their last bits, and so do ranks.
const DIFFERING: f64 = 0.01;

const HALF: Sparsity = Sparsity::Ratio(0.5);

/// What a method did with everything that it was tried on.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The method, its options and its library.
    pub method: PluginRecord,
    /// The devices, in words; results are compared with those of the first.
    pub devices: Vec<String>,
    /// Every layer or model on every device.
    pub cases: Vec<CaseReport>,
    /// The time of a 512 × 512 layer on every device; none for methods on blocks and models.
    pub times: Vec<CaseTime>,
}

/// A layer or a model on one device.
#[derive(Debug, Serialize)]
pub struct CaseReport {
    /// The layer or the model, in words.
    pub case: &'static str,
    /// `[out_features, in_features]`; of a model `[intermediate_size, hidden_size]`.
    pub shape: [usize; 2],
    /// The sparsity asked for.
    pub target: Sparsity,
    /// The place of the device among [`CheckReport::devices`].
    pub device: usize,
    /// The outcome.
    pub outcome: CaseOutcome,
    /// The sparsity reached, or the reason why there is none.
    pub detail: String,
}

/// The outcome of a layer or a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseOutcome {
    /// The result is finite, meets the target, is the same twice, and agrees with the first device's.
    Ok,
    /// The method says that it cannot do this.
    Refused,
    /// Anything else.
    Failed,
}

/// Seconds for a 512 × 512 layer: the method's, and those of zeroing the smallest weights of the matrix, the least that a
/// method could do.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CaseTime {
    /// The method's.
    pub method: f64,
    /// Of zeroing the smallest weights.
    pub smallest: f64,
}

impl CheckReport {
    /// Cases that failed, over all devices.
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| case.outcome == CaseOutcome::Failed).count()
    }
}

/// Tries a method on everything that is made up for its scope, on these devices; `progress` is called after each layer or
/// model.
///
/// # Errors
/// A device fails, or the run is interrupted. What the method does wrong is in the report.
pub fn check(
    method: &Method,
    devices: &[Arc<dyn Device>],
    progress: &mut dyn FnMut(),
) -> Result<CheckReport> {
    let (cases, times) = if is_for_layers(method) {
        layers::check(method, devices, progress)?
    } else {
        (models::check(method, devices, progress)?, Vec::new())
    };
    Ok(CheckReport {
        method: method.record().clone(),
        devices: devices.iter().map(|device| device.info().to_string()).collect(),
        cases,
        times,
    })
}

/// The number of layers or models that [`check`] tries this method on.
pub fn count(method: &Method) -> usize {
    if is_for_layers(method) { layers::CASES.len() } else { models::CASES.len() }
}

/// Whether it is one stage, which works on layers.
fn is_for_layers(method: &Method) -> bool {
    method.can_share() && method.stages().len() == 1
}

/// Why there is no result.
enum Fault {
    Refused(String),
    Failed(String),
    Device(PruneError),
}

impl Fault {
    /// A method's error: it may say that it cannot do something.
    fn of(error: &espalier_sdk::Error) -> Self {
        let message = text::line(&causes(error).join(": "));
        match error.code {
            Code::InvalidInput | Code::Unsupported => Self::Refused(message),
            _ => Self::Failed(message),
        }
    }

    /// The outcome. What refuses an ordinary case can do nothing.
    fn outcome(self, is_plain: bool) -> Result<(CaseOutcome, String)> {
        match self {
            Self::Refused(message) if !is_plain => Ok((CaseOutcome::Refused, message)),
            Self::Refused(message) | Self::Failed(message) => Ok((CaseOutcome::Failed, message)),
            Self::Device(error) => Err(error),
        }
    }
}

/// Refuses weights of which one device prunes more than rounding explains otherwise than the first.
fn compare_zeros(weight: &[f32], first: &[f32]) -> Result<(), Fault> {
    let differing = weight.iter().zip(first).filter(|(a, b)| (**a == 0.0) != (**b == 0.0)).count();
    let share = differing as f64 / weight.len() as f64;
    // One row's or one matrix' last rank may change, however small the layer.
    if share > DIFFERING && differing > 2 {
        let percent = share * 100.0;
        return Err(Fault::Failed(format!("{percent:.1}% of the weights are pruned on one device only")));
    }
    Ok(())
}

/// One thread, for what must not depend on their number.
fn one_thread() -> Result<rayon::ThreadPool, Fault> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.map_err(|error| Fault::Failed(format!("a thread cannot be started: {error}")))
}

/// Numbers around 0 whose size varies, as that of weights and activations does.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let mut number = || (0..6).map(|_| rng.unit()).sum::<f64>() - 3.0;
    (0..count).map(|_| number() as f32).collect()
}
