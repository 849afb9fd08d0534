//! What a method has beside the model: the device, the log, progress, draws, and numbers for the manifest.

use crate::{
    Device, Error, Result, Rng,
    message::{HostCall, HostReply, HostService, Level},
};
use std::fmt;

/// A call's surroundings.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// fn fit(run: &Run, steps: usize) -> Result<f64> {
///     let mut loss = run.rng().unit();
///     for step in 0..steps {
///         // An error if the user has interrupted the run.
///         run.progress(step, steps)?;
///         loss *= 0.5;
///     }
///     run.log(Level::Info, format!("a loss of {loss} after {steps} steps"));
///     Ok(loss)
/// }
/// # fn main() -> Result<()> {
/// # assert!(fit(&testing::run(&testing::device()), 10)? < 0.001);
/// # Ok(())
/// # }
/// ```
pub struct Run<'a> {
    device: Device,
    host: &'a dyn HostService,
    seed: u64,
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Run").field("device", &self.device).field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl<'a> Run<'a> {
    /// A run on this device, with this host to call.
    pub fn new(device: Device, host: &'a dyn HostService, seed: u64) -> Self {
        Self { device, host, seed }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A generator that depends on the run's seed and on what the method is called for: the layer, the block or the model.
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed)
    }

    /// Writes a line to the run's log, which the user sees on standard error: warnings always, the rest on request.
    pub fn log(&self, level: Level, text: impl Into<String>) {
        // A log line that is lost must not end a run.
        let _ = self.call(HostCall::Log { level, text: text.into() });
    }

    /// Reports that so many steps of all are done.
    ///
    /// # Errors
    /// The user has interrupted the run: return the error.
    pub fn progress(&self, done: usize, of: usize) -> Result<()> {
        self.call(HostCall::Progress { done, of }).map(drop)
    }

    /// Adds a number to the run's manifest.
    ///
    /// # Errors
    /// It is NaN or infinite.
    pub fn number(&self, name: impl Into<String>, value: f64) -> Result<()> {
        let name = name.into();
        if !value.is_finite() {
            return Err(Error::invalid(format!("the number `{name}` for the manifest is {value}")));
        }
        self.call(HostCall::Number { name, value }).map(drop)
    }

    pub(crate) fn call(&self, call: HostCall) -> Result<HostReply> {
        self.host.call(call)
    }
}

/// An answer of a kind that does not fit the call.
pub(crate) fn misfit(reply: &HostReply) -> Error {
    Error::invalid(format!("the host answered with something else: {reply:?}"))
}
