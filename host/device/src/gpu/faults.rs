//! Errors that the driver reports outside of a call: kept until the next call can return them.

use crate::{DeviceError, Result};
use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The driver's errors since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Faults {
    state: Mutex<FaultState>,
}

#[derive(Debug, Default)]
struct FaultState {
    /// The first error since the last check: later ones tend to follow from it.
    first: Option<Fault>,
    /// Why the device was lost. It stays lost.
    lost: Option<String>,
}

#[derive(Debug)]
enum Fault {
    OutOfMemory(String),
    Failed(String),
}

impl Faults {
    /// Listens to a device's errors. Without this wgpu panics on the first one.
    pub(super) fn watch(device: &wgpu::Device) -> Arc<Self> {
        let faults = Arc::new(Self::default());
        let uncaptured = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            let message = chain(&error);
            let fault = match error {
                wgpu::Error::OutOfMemory { .. } => Fault::OutOfMemory(message),
                _ => Fault::Failed(message),
            };
            uncaptured.state().first.get_or_insert(fault);
        }));
        let lost = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the device at the end of its life is reported here too, and is no loss.
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost.state().lost.get_or_insert(message);
            }
        });
        faults
    }

    /// Returns the first error reported since the last check.
    ///
    /// # Errors
    /// That one.
    pub(super) fn check(&self, operation: &str) -> Result<()> {
        let mut state = self.state();
        if let Some(why) = &state.lost {
            return Err(DeviceError::Lost { operation: operation.to_owned(), message: why.clone() });
        }
        match state.first.take() {
            None => Ok(()),
            Some(Fault::OutOfMemory(message)) => {
                Err(DeviceError::OutOfMemory { what: format!("{operation}: {message}"), bytes: 0 })
            }
            Some(Fault::Failed(message)) => {
                Err(DeviceError::Failed { operation: operation.to_owned(), message })
            }
        }
    }

    /// Whether the device is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.state().lost.is_some()
    }

    /// Counts the device as gone.
    pub(super) fn lose(&self, why: &str) {
        self.state().lost.get_or_insert_with(|| why.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs something that creates objects of the device, and returns the error that it raised, if any,
/// instead of leaving it to the handler for errors nobody waits for.
pub(super) fn guarded<T>(device: &wgpu::Device, create: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let object = create();
    // Scopes are a stack; memory is reported first, since the others tend to follow from it.
    let internal = pollster::block_on(internal.pop());
    let memory = pollster::block_on(memory.pop());
    let validation = pollster::block_on(validation.pop());
    match memory.or(internal).or(validation) {
        None => Ok(object),
        Some(error) => Err(error),
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string().trim().to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        let cause_text = cause_text.trim();
        // wgpu's top-level errors already quote the messages below them.
        if !text.contains(cause_text) {
            text.push_str(": ");
            text.push_str(cause_text);
        }
        source = cause.source();
    }
    text
}
