//! What every method may ask of the host, whatever it works on: the log, progress, numbers.

use espalier_base::{interrupt, text};
use espalier_sdk::{
    Code, Error, Result,
    message::{HostCall, HostReply, HostService, Level},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Called with the steps done and the number of all steps.
pub(super) type Steps<'a> = &'a mut (dyn FnMut(usize, usize) + Send);

/// The log, progress and numbers of a stage.
pub(super) struct Services<'a> {
    /// The stage's name, for the log.
    stage: &'a str,
    numbers: Mutex<BTreeMap<String, f64>>,
    steps: Option<Mutex<Steps<'a>>>,
}

impl<'a> Services<'a> {
    /// Those of the stage of this name.
    pub(super) fn new(stage: &'a str, steps: Option<Steps<'a>>) -> Self {
        Self { stage, numbers: Mutex::default(), steps: steps.map(Mutex::new) }
    }

    /// Answers a call itself if every scope has it, and otherwise has the scope answer, unless the run was interrupted.
    pub(super) fn answer(
        &self,
        call: HostCall,
        scope: impl FnOnce(HostCall) -> Result<HostReply>,
    ) -> Result<HostReply> {
        match call {
            HostCall::Log { .. } | HostCall::Progress { .. } | HostCall::Number { .. } => self.call(call),
            call => {
                interrupt::check()?;
                scope(call)
            }
        }
    }

    /// The numbers that the stage gave.
    pub(super) fn into_numbers(self) -> BTreeMap<String, f64> {
        self.numbers.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostService for Services<'_> {
    fn call(&self, call: HostCall) -> Result<HostReply> {
        match call {
            HostCall::Log { level, text } => {
                let (stage, text) = (self.stage, text::line(&text));
                match level {
                    Level::Debug => tracing::debug!("{stage}: {text}"),
                    Level::Info => tracing::info!("{stage}: {text}"),
                    Level::Warn => tracing::warn!("{stage}: {text}"),
                }
            }
            HostCall::Progress { done, of } => {
                interrupt::check()?;
                tracing::debug!("{}: step {done} of {of}", self.stage);
                if let Some(steps) = &self.steps {
                    steps.lock().unwrap_or_else(PoisonError::into_inner)(done, of);
                }
            }
            HostCall::Number { name, value } if value.is_finite() => {
                self.numbers.lock().unwrap_or_else(PoisonError::into_inner).insert(text::line(&name), value);
            }
            HostCall::Number { name, value } => {
                let message = format!("the number `{}` is {value}", text::line(&name));
                return Err(Error::new(Code::Numeric, message));
            }
            other => return Err(out_of_scope(&other)),
        }
        Ok(HostReply::Done)
    }
}

/// The answer to a call that a stage's scope does not have.
pub(super) fn out_of_scope(call: &HostCall) -> Error {
    Error::new(Code::Unsupported, format!("a method of this scope cannot call `{}`", call.name()))
}

/// The seed of a stage's draws for a part of the model, from the run's: SplitMix64's output function (Steele et al., 2014) over
/// the place.
pub(super) fn seed(run: u64, place: [usize; 3]) -> u64 {
    place.into_iter().fold(run, |seed, part| {
        let mut z = seed.wrapping_add((part as u64).wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
