//! A method or selector in a process of its own.

use super::{
    message::{ChildAnswer, ToChild},
    process::{Called, Process, unexpected},
    selection::Offered,
};
use crate::NoHost;
use espalier_sdk::{
    Error, Options, Result, SelectionRequest,
    message::{HostService, MethodAnswer, MethodCall},
    service::{DeviceService, DocumentService, ModelService, WindowService},
};
use std::{
    cell::RefCell,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Where a method or selector is made.
pub(crate) struct Place {
    pub(crate) library: PathBuf,
    pub(crate) sha256: String,
    pub(crate) patience: Duration,
    /// A process in which the library is open, and nothing made.
    pub(crate) process: Option<Process>,
}

fn json(options: &Options) -> Result<String> {
    serde_json::to_string(options)
        .map_err(|error| Error::invalid(format!("options that are not JSON: {error}")))
}

/// A method or selector whose library is open in a child. A child that died is replaced at the next call.
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
    pub(crate) fn method(place: Place, name: &str, options: &Options) -> Result<Self> {
        Self::new(place, ToChild::Method { name: name.to_owned(), options: json(options)? })
    }

    /// Makes a selector, as [`Apart::method`].
    ///
    /// # Errors
    /// As [`Apart::method`].
    pub(crate) fn selector(place: Place, name: &str, options: &Options) -> Result<Self> {
        Self::new(place, ToChild::Selector { name: name.to_owned(), options: json(options)? })
    }

    fn new(place: Place, make: ToChild) -> Result<Self> {
        let Place { library, sha256, patience, process } = place;
        let mut apart = Self { library, sha256, patience, make, process: Mutex::new(None) };
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
            other => Err(unexpected(&self.library, &other)),
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
        let misfit = |error: serde_json::Error| Error::invalid(format!("a call that is not JSON: {error}"));
        let call = ToChild::Call {
            call: serde_json::to_string(call).map_err(misfit)?,
            device: (device.name(), device.kind()),
        };
        match self.ask(&call, Called { host, device, offered: None })? {
            ChildAnswer::Answer(answer) => serde_json::from_str(&answer).map_err(misfit),
            other => Err(unexpected(&self.library, &other)),
        }
    }

    /// As [`LoadedSelector::select`](espalier_sdk::abi::LoadedSelector::select).
    ///
    /// # Errors
    /// The selector's error, or the end of its process.
    pub(crate) fn select(
        &self,
        documents: &dyn DocumentService,
        model: &dyn ModelService,
        request: &SelectionRequest,
        windows: &mut dyn WindowService,
    ) -> Result<()> {
        let windows: RefCell<&mut dyn WindowService> = RefCell::new(windows);
        let offered = Some(Offered { documents, model, windows: &windows });
        let call = ToChild::Select(request.clone());
        match self.ask(&call, Called { host: &NoHost, device: &NoHost, offered })? {
            ChildAnswer::Selected => Ok(()),
            other => Err(unexpected(&self.library, &other)),
        }
    }

    fn ask(&self, call: &ToChild, called: Called) -> Result<ChildAnswer> {
        let mut slot = self.lock();
        let process = match &mut *slot {
            Some(process) => process,
            None => slot.insert(self.begin(None)?),
        };
        let answer = process.call(call, Some(called));
        if answer.is_err() && !process.is_alive() {
            *slot = None;
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
