//! A method in a process of its own.

use super::{
    message::{PruneAnswer, PruneMessage, ToChild},
    process::Process,
};
use espalier_sdk::{
    Options, Order, Result, Sparsity, Statistic,
    abi::{LoadedPruned, TensorHandle},
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
    order: Order,
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
            .map_err(|error| espalier_sdk::Error::invalid(format!("options that are no JSON: {error}")))?;
        let mut apart = Self {
            library: library.to_owned(),
            sha256: sha256.to_owned(),
            patience,
            make: ToChild::Method { name: name.to_owned(), options },
            order: Order::Block,
            process: Mutex::new(None),
        };
        let (process, order) = apart.begin(process)?;
        apart.order = order;
        apart.process = Mutex::new(Some(process));
        Ok(apart)
    }

    fn begin(&self, process: Option<Process>) -> Result<(Process, Order)> {
        let mut process = match process {
            Some(process) => process,
            None => Process::open(&self.library, &self.sha256, self.patience)?.0,
        };
        match process.call(&self.make, None)? {
            PruneAnswer::Method(order) => Ok((process, order)),
            other => Err(process.unexpected(&other)),
        }
    }

    /// As [`LoadedMethod::order`](espalier_sdk::abi::LoadedMethod::order).
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// As [`LoadedMethod::prune`](espalier_sdk::abi::LoadedMethod::prune).
    ///
    /// # Errors
    /// The method's error, or the end of its process.
    pub(crate) fn prune(
        &self,
        name: &str,
        block: usize,
        weight: TensorHandle,
        tokens: u64,
        statistics: &[(Statistic, TensorHandle)],
        target: Sparsity,
        device: &dyn DeviceService,
    ) -> Result<LoadedPruned> {
        let mut slot = self.lock();
        let process = match &mut *slot {
            Some(process) => process,
            None => slot.insert(self.begin(None)?.0),
        };
        let call = ToChild::Prune(PruneMessage {
            name: name.to_owned(),
            block,
            weight,
            tokens,
            statistics: statistics.to_vec(),
            target,
            device: (device.name(), device.kind()),
        });
        let outcome = process.call(&call, Some(device));
        let pruned = match outcome {
            Ok(PruneAnswer::Pruned(pruned)) => return Ok(pruned),
            Ok(other) => Err(process.unexpected(&other)),
            Err(error) => Err(error),
        };
        if !process.is_alive() {
            *slot = None;
        }
        pruned
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
