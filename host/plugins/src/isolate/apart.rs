//! A method in a process of its own.

use super::{
    message::{ChildAnswer, ToChild},
    process::{Called, Process},
};
use espalier_sdk::{
    Error, Options, Result,
    message::{HostService, MethodAnswer, MethodCall},
    service::DeviceService,
};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A method whose library is open in a child. A child that died is replaced at the next call.
pub(crate) struct Apart {
    library: PathBuf,
    sha256: String,
    patience: Duration,
    make: ToChild,
    process: Mutex<Option<Process>>,
}

impl Apart {
    /// Makes a method in `process`, or in a new one.
    ///
    /// # Errors
    /// The method refuses its options, or its process ended.
    pub(crate) fn new(
        library: &Path,
        sha256: &str,
        patience: Duration,
        process: Option<Process>,
        name: &str,
        options: &Options,
    ) -> Result<Self> {
        let options = serde_json::to_string(options)
            .map_err(|error| Error::invalid(format!("options that are not JSON: {error}")))?;
        let mut apart = Self {
            library: library.to_owned(),
            sha256: sha256.to_owned(),
            patience,
            make: ToChild::Method { name: name.to_owned(), options },
            process: Mutex::new(None),
        };
        let process = apart.begin(process)?;
        apart.process = Mutex::new(Some(process));
        Ok(apart)
    }

    fn begin(&self, process: Option<Process>) -> Result<Process> {
        let mut process = match process {
            Some(process) => process,
            None => Process::open(&self.library, &self.sha256, self.patience)?.0,
        };
        match process.call(&self.make, None)? {
            ChildAnswer::Made => Ok(process),
            other => Err(process.unexpected(&other)),
        }
    }

    /// As [`LoadedMethod::call`](espalier_sdk::abi::LoadedMethod::call).
    ///
    /// # Errors
    /// The method's error, or the end of its process.
    pub(crate) fn call(
        &self,
        call: &MethodCall,
        host: &dyn HostService,
        device: &dyn DeviceService,
    ) -> Result<MethodAnswer> {
        let json = |error: serde_json::Error| Error::invalid(format!("a call that is not JSON: {error}"));
        let mut slot = self.lock();
        let process = match &mut *slot {
            Some(process) => process,
            None => slot.insert(self.begin(None)?),
        };
        let call = ToChild::Call {
            call: serde_json::to_string(call).map_err(json)?,
            device: (device.name(), device.kind()),
        };
        let answer = match process.call(&call, Some(Called { host, device })) {
            Ok(ChildAnswer::Answer(answer)) => return serde_json::from_str(&answer).map_err(json),
            Ok(other) => Err(process.unexpected(&other)),
            Err(error) => Err(error),
        };
        if !process.is_alive() {
            *slot = None;
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
